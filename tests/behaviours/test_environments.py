"""Environments, as programs and the command see them: one name, apart in each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

import volant
import volant.errors
from tests.behaviours.programs import APPS, at_home
from tests.behaviours.test_sealed import kill_daemon
from tests.support import run_volant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def said(home: Path, *words: str, code: int = 0) -> str:
    """What the command says; its complaint if it fails."""
    done = run_volant(*words, home=home)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


@pytest.fixture(scope="module")
def parted(volant_home: Path) -> Iterator[Path]:
    """A home with environment `staging`; the app is deployed in it and in `main`."""
    volant.Environment.objects.create("staging")
    volant.Secret.objects.create("parted", {"WORD": "one"})
    volant.Secret.objects.create("parted", {"WORD": "two"}, environment_name="staging")
    said(volant_home, "deploy", "-q", str(APPS / "parted.py"))
    said(volant_home, "deploy", "-q", str(APPS / "parted.py"), "--env", "staging")
    yield volant_home
    said(volant_home, "app", "stop", "parted")
    volant.Environment.objects.delete("staging")


def test_one_program_is_two_apps_that_share_nothing(parted: Path) -> None:
    """Behaviours 77 and 142."""
    here = volant.Function.from_name("parted", "where")
    there = volant.Function.from_name("parted", "where", environment_name="staging")
    assert here.remote() == ["main", "one", 1, []]
    assert there.remote() == ["staging", "two", 1, []]
    assert there.remote() == ["staging", "two", 2, ["staging"]]
    assert here.remote() == ["main", "one", 2, ["main"]]
    assert volant.Dict.from_name("parted-count", environment_name="staging")["asked"] == 2
    with pytest.raises(volant.errors.NotFoundError) as caught:
        volant.Function.from_name("parted", "nope", environment_name="staging").remote()
    assert str(caught.value).startswith(
        "Lookup failed for Function 'nope' from the 'parted' app in the 'staging' environment: "
    )


def test_each_has_addresses_of_its_own(parted: Path) -> None:
    for environment in ("main", "staging"):
        page = volant.Function.from_name("parted", "page", environment_name=environment)
        with urlopen(str(page.get_web_url())) as answer:  # ours
            assert json.load(answer) == environment


def test_an_app_runs_where_it_is_told(parted: Path) -> None:
    from tests.behaviours.apps import parted as program

    with program.app.run(environment_name="staging"):
        found = program.where.remote()
        assert found[:2] == ["staging", "two"]
        assert "main" not in found[3]
        running = volant.Environment.from_name("staging").apps.list()
        assert program.app.app_id in [app.app_id for app in running]
    out = said(parted, "run", "--env", "staging", str(APPS / "parted.py::where"))
    assert out.startswith("['staging', 'two', ")
    nowhere = program.app.run(environment_name="stagin")
    with pytest.raises(volant.errors.NotFoundError, match="there is no environment 'stagin'"):
        nowhere.__enter__()
    assert (
        volant.App.lookup("parted", environment_name="staging").info().environment_name == "staging"
    )


def test_the_command_is_about_one_environment(parted: Path) -> None:
    for words in (("app", "list"), ("function", "list"), ("dict", "list"), ("volume", "list")):
        here, there = (
            json.loads(said(parted, *words, "--json", *more)) for more in ((), ("-e", "staging"))
        )
        assert {row["environment"] for row in here} <= {"main"}
        assert {row["environment"] for row in there} <= {"staging"}
    assert "there is no environment 'stagin'" in said(parted, "app", "list", "-e", "stagin", code=2)
    listed = json.loads(said(parted, "environment", "list", "--json"))
    assert [(row["name"], row["is_present"]) for row in listed] == [
        ("main", True), ("staging", False),
    ]  # fmt: skip
    refused = said(parted, "environment", "delete", "staging", code=2)
    assert "environment 'staging' has 1 apps and " in refused
    assert "--yes" in refused


def test_handles_of_environments(volant_home: Path) -> None:
    made = volant.Environment.from_name("handled", create_if_missing=True)
    assert made.hydrate() is made
    assert made.info().web_suffix == "handled"
    assert [one.name for one in volant.Environment.objects.list()][-1] == "handled"
    assert volant.Environment.from_context().name == "main"
    with pytest.raises(volant.errors.AlreadyExistsError):
        volant.Environment.objects.create("handled")
    with pytest.raises(volant.errors.UnimplementedError, match="restricted"):
        volant.Environment.objects.create("other", restricted=True)
    volant.Environment.objects.delete("handled")
    with pytest.raises(volant.errors.NotFoundError):
        volant.Environment.objects.delete("handled")
    volant.Environment.objects.delete("handled", allow_missing=True)
    with pytest.raises(volant.errors.NotFoundError):
        made.info()


def test_they_outlive_a_kill_and_come_back_from_a_backup(own_home: Path, tmp_path: Path) -> None:
    said(own_home, "environment", "create", "staging")
    said(own_home, "secret", "create", "parted", "WORD=two", "-e", "staging")
    said(own_home, "deploy", "-q", str(APPS / "parted.py"), "-e", "staging")
    said(own_home, "environment", "rename", "staging", "preview")
    kill_daemon(own_home)
    with at_home(own_home):
        there = volant.Function.from_name("parted", "where", environment_name="preview")
        assert there.remote() == ["preview", "two", 1, []]
        with pytest.raises(volant.errors.NotFoundError):
            volant.Function.from_name("parted", "where").remote()
    said(own_home, "server", "backup", str(tmp_path / "kept"))
    said(own_home, "environment", "delete", "preview", "--yes")
    assert json.loads(said(own_home, "app", "list", "--json")) == []
    said(own_home, "server", "stop")
    said(own_home, "server", "restore", str(tmp_path / "kept"), "--force")
    with at_home(own_home):
        there = volant.Function.from_name("parted", "where", environment_name="preview")
        assert there.remote() == ["preview", "two", 2, ["preview"]]
    said(own_home, "config", "set-environment", "preview")
    [row] = json.loads(said(own_home, "app", "list", "--json"))
    assert (row["name"], row["environment"]) == ("parted", "preview")
