"""What outlives the daemon: in PostgreSQL that comes and goes, and in backups that are put back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.postgres import PASSWORD, QUOTED
from tests.support import daemon_pid, eventually, run_volant, stop_daemon

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from tests.postgres import PostgresServer

APP = """
import volant
app = volant.App("shop")
@app.function()
def version() -> str:
    return "{0}"
"""
ASK = "import volant; print(volant.Function.from_name('shop', 'version').remote())"
SPAWN = ASK.replace("remote()", "spawn().object_id")
GET = "import volant; print(volant.FunctionCall.from_id('{0}').get(timeout=30))"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    program = tmp_path / "shop.py"
    program.write_text(APP.format("one"))
    return program


class Person:
    """Somebody with a home and a database."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self._env = {
            "VOLANT_HOME": str(home),
            "VOLANT_DATABASE_URL": url,
            "VOLANT_GATEWAY_PORT": "0",
        }

    def volant(self, *words: str | Path) -> CompletedProcess[str]:
        return run_volant(*words, home=self.home, env=self._env)

    def ask(self, code: str = ASK) -> CompletedProcess[str]:
        """Call the function that is deployed, from a program of its own."""
        return subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **self._env}, capture_output=True,
            text=True, timeout=60.0, check=False,
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.volant("server", "status", "--json").stdout)
        return told


def _shown_to_anybody(person: Person) -> str:
    """What people, logs and process lists show of a daemon and its database."""
    words = (
        ("server", "status"),
        ("config", "show"),
        ("config", "show", "--json"),
        ("server", "logs"),
    )
    shown = "".join(str(person.volant(*one)) for one in words)
    for log in person.home.glob("*.log*"):
        shown += log.read_text()
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            shown += line.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue  # it has just ended
    return shown


@pytest.mark.slow
def test_deployed_apps_are_kept_in_postgresql_through_deaths_of_both(
    own_home: Path, postgres: PostgresServer, shop: Path
):
    person = Person(own_home, postgres.schema(f"deaths{os.getpid()}"))
    assert person.volant("deploy", shop).returncode == 0
    assert not (own_home / "volant.db").exists()
    assert person.status()["database"]["kind"] == "postgresql"
    assert "one" in person.ask().stdout
    pid = daemon_pid(own_home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert "one" in person.ask().stdout
    spawned = person.ask(SPAWN).stdout.strip()
    assert spawned.startswith("fc-")
    postgres.kill()
    assert "one" in person.ask().stdout  # what is served goes on
    postgres.start()
    shop.write_text(APP.format("two"))
    done = person.volant("deploy", shop)
    assert done.returncode == 0, done.stderr
    assert "two" in person.ask().stdout
    assert "one" in person.ask(GET.format(spawned)).stdout
    shown = _shown_to_anybody(person)
    assert "volant:***@" in shown
    assert PASSWORD not in shown
    assert QUOTED not in shown


@pytest.mark.slow
def test_a_daemon_whose_postgresql_is_away_at_first_says_so_and_tries_on(
    own_home: Path, postgres: PostgresServer, shop: Path
):
    person = Person(own_home, postgres.schema(f"away{os.getpid()}"))
    assert person.volant("deploy", shop).returncode == 0
    stop_daemon(own_home)
    postgres.kill()
    try:
        assert person.volant("server", "start").returncode == 0
        eventually(lambda: person.status()["database"]["trouble"], 20.0)
        assert "cannot be reached" in person.volant("server", "status").stdout
        refused = person.ask()
        assert refused.returncode != 0
        assert "cannot be reached" in refused.stderr
        assert "see to the server" in refused.stderr
        assert json.loads(person.volant("app", "list", "--json").stdout) is not None
    finally:
        postgres.start()
    eventually(lambda: "one" in person.ask().stdout, 30.0)
    assert person.status()["database"]["trouble"] is None


@pytest.mark.slow
def test_a_second_daemon_does_not_take_the_database_of_the_first(
    own_home: Path, postgres: PostgresServer, shop: Path, tmp_path: Path
):
    url = postgres.schema(f"two{os.getpid()}")
    first, second = Person(own_home, url), Person(tmp_path / "second", url)
    second.home.mkdir(mode=0o700)
    try:
        assert first.volant("deploy", shop).returncode == 0
        refused = second.volant("deploy", shop)
        assert refused.returncode != 0
        assert f"another daemon uses the database {url.partition(':')[0]}" in refused.stderr
        assert f"volantd {daemon_pid(own_home)} on " in refused.stderr
        stop_daemon(own_home)
        eventually(lambda: "was sealed with the key" in second.ask().stderr, 30.0)
        stop_daemon(second.home)
        shutil.copy(own_home / "sealing.key", second.home)
        assert f"is not in {second.home}/blobs" in second.ask().stderr
        stop_daemon(second.home)
        shutil.copytree(own_home / "blobs", second.home / "blobs", dirs_exist_ok=True)
        assert second.ask().stdout == "one\n"
    finally:
        stop_daemon(second.home)


@pytest.mark.slow
def test_a_backup_of_a_daemon_that_runs_is_put_back_when_it_does_not(
    own_home: Path, shop: Path, tmp_path: Path
):
    person = Person(own_home, "")
    assert person.volant("deploy", shop).returncode == 0
    done = person.volant("server", "backup", tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    shop.write_text(APP.format("two"))
    assert person.volant("deploy", shop).returncode == 0
    assert "two" in person.ask().stdout
    done = person.volant("server", "restore", tmp_path / "copy", "--force")
    assert (done.returncode, "a daemon runs in" in done.stderr) == (2, True)
    assert person.volant("server", "stop").returncode == 0
    done = person.volant("server", "restore", tmp_path / "copy", "--force")
    assert done.returncode == 0, done.stderr
    assert "one" in person.ask().stdout
