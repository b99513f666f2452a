"""`volant sandbox`: what a person sees and does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import volant
from tests.support import run_volant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

app = volant.App("commanded")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[volant.Sandbox]:
    with app.run():
        made = volant.Sandbox.create(
            "sh", "-c", "echo printed; cat", app=app, name="shown", tags={"user": "ada"}
        )
        assert next(iter(made.stdout)) == "printed\n"
        yield made


def test_sandboxes_are_listed(volant_home: Path, sandbox: volant.Sandbox) -> None:
    run = run_volant("sandbox", "list", home=volant_home)
    assert run.returncode == 0
    row = next(line for line in run.stdout.splitlines() if sandbox.object_id in line)
    assert "shown  commanded  started" in row
    found = run_volant("sandbox", "list", "--tag", "user=ada", "--json", home=volant_home)
    [told] = json.loads(found.stdout)
    assert (told["sandbox_id"], told["state"]) == (sandbox.object_id, "started")
    none = run_volant("sandbox", "list", "--tag", "user=eve", home=volant_home)
    assert (none.stdout, none.stderr) == ("", "no sandboxes\n")
    wrong = run_volant("sandbox", "list", "--tag", "user", home=volant_home)
    assert wrong.returncode == 2


def test_a_command_is_run_with_its_streams_and_its_code(
    volant_home: Path, sandbox: volant.Sandbox
) -> None:
    words = ("sh", "-c", "echo out; echo err >&2; exit 7")
    run = run_volant("sandbox", "exec", sandbox.object_id, "--", *words, home=volant_home)
    assert (run.returncode, run.stdout, run.stderr) == (7, "out\n", "err\n")
    run = run_volant("shell", sandbox.object_id, "--cmd", "sh -c 'exit 5'", home=volant_home)
    assert run.returncode == 5
    run = run_volant("sandbox", "exec", sandbox.object_id[:-1], "true", home=volant_home)
    assert run.returncode == 2
    assert f"did you mean {sandbox.object_id}?" in run.stderr


def test_what_its_program_printed_is_shown(volant_home: Path, sandbox: volant.Sandbox) -> None:
    run = run_volant("sandbox", "logs", sandbox.object_id, home=volant_home)
    assert (run.returncode, run.stdout) == (0, "printed\n")


def test_sandboxes_are_stopped(volant_home: Path, sandbox: volant.Sandbox) -> None:
    made = [volant.Sandbox.create("cat", app=app).object_id for _ in range(2)]
    run = run_volant("sandbox", "stop", *made, home=volant_home)
    assert run.stdout.splitlines() == [f"stopped {one}" for one in made]
    told = run_volant("sandbox", "list", "--all", "--json", home=volant_home)
    codes = {row["sandbox_id"]: row["result"] for row in json.loads(told.stdout)}
    assert [codes[one]["code"] for one in made] == [137, 137]
    refused = run_volant("container", "exec", sandbox.object_id, "true", home=volant_home)
    assert refused.returncode == 2
