"""`volant curl`: requests of the command line, with a token where one is needed."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.apps import clients, gated
from tests.behaviours.programs import WITHIN_S
from tests.support import VOLANT, run_volant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _running(volant_home: Path) -> Iterator[None]:
    clients.app.deploy()
    with gated.app.run():
        yield
    assert run_volant("app", "stop", "clients", home=volant_home).returncode == 0


def curl(home: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return run_volant("curl", *words, home=home, within_s=WITHIN_S, stdin=stdin)


def test_a_function_is_asked_by_its_name(volant_home: Path) -> None:
    ran = curl(volant_home, "gated/open_to_all/a?b=c")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith("/a 0")
    ran = curl(volant_home, "clients/add?left=3", "-i")
    head, _, body = ran.stdout.partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK\n")
    assert json.loads(body) == {"sum": 5}


def test_a_token_is_shown_where_it_is_needed_and_is_gone_afterwards(volant_home: Path) -> None:
    before = run_volant("token", "list", "--json", home=volant_home).stdout
    ran = curl(volant_home, "gated/guarded")
    assert ran.stdout.startswith("secret")
    url = gated.guarded.get_web_url()
    assert url
    assert curl(volant_home, url).stdout.startswith("secret")
    mine = ("-H", "Authorization: Bearer x.y", "-f", "-i")  # one's own is not replaced
    ran = curl(volant_home, url, *mine)
    assert ran.returncode == 1
    assert ran.stdout.startswith("HTTP/1.1 401 ")
    assert run_volant("token", "list", "--json", home=volant_home).stdout == before


def test_bodies_are_sent_as_text_files_and_streams(volant_home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    target = "clients/site/digest"
    for words, size in (
        (("-d", "ab", "-d", "c"), 4),
        (("--json", "{}"), 2),
        (("-X", "POST", "-T", str(tmp_path / "file")), 1 << 20),
        (("-d", f"@{tmp_path / 'file'}"), 1 << 20),
        (("-d", "@-"), 5),
    ):
        ran = curl(volant_home, target, *words, stdin="hello")
        assert json.loads(ran.stdout)["size"] == size, ran


def test_heads_alone_and_files(volant_home: Path, tmp_path: Path) -> None:
    ran = curl(volant_home, "clients/site/file", "-I")
    assert f"content-length: {len(clients.FILE_BYTES)}\n" in ran.stdout.lower()
    ran = curl(volant_home, "clients/site/file", "-o", str(tmp_path / "got"))
    assert ran.stdout == ""
    assert (tmp_path / "got").read_bytes() == clients.FILE_BYTES


def test_an_answer_is_shown_as_it_comes(volant_home: Path) -> None:
    environ = {"VOLANT_HOME": str(volant_home)}
    words = [VOLANT, "curl", "clients/site/events"]
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "data: here\n"  # of an answer that has no end
        running.stdout.close()
        assert running.wait(WITHIN_S) == 141


def test_names_that_are_none_are_told_with_what_is_close(volant_home: Path) -> None:
    ran = curl(volant_home, "gate/guarded")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "did you mean `gated`?" in ran.stderr
