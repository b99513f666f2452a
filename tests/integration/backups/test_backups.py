"""Backups of a home: made while somebody writes, checked to the last byte, put in place at once."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from tests.postgres import PASSWORD, QUOTED
from tests.support import run_volant, same
from volant.errors import NotFoundError
from volant.wire import values
from volantd import home_lock
from volantd.backups import dumps
from volantd.backups.backup import back_up
from volantd.backups.settling import READY, settle
from volantd.blobs.files import BlobFiles
from volantd.sealing.keyring import Keyring
from volantd.sealing.sealer import Sealer
from volantd.store import database, deployments, dicts
from volantd.store.deployments import VersionRow
from volantd.store.engines.postgres import PostgresSession
from volantd.store.engines.sqlite import SqliteSession
from volantd.store.records import EntryRow
from volantd.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import PostgresServer


class Home:
    """A daemon's home with deployed apps, as the daemon writes it."""

    def __init__(self, path: Path, url: str = "") -> None:
        self.path = path
        path.mkdir(mode=0o700, exist_ok=True)
        self.sealer = Sealer(Keyring(str(path)))
        kind, place = (PostgresSession, url) if url else (SqliteSession, str(path / "volant.db"))
        self.session: PostgresSession | SqliteSession = kind(place, database.bring_up_to_date)
        self.blobs = BlobFiles(str(path / "blobs"))

    def deploy(self, name: str, content: bytes = b"source") -> str:
        """Have an app deployed whose description names a content; its hash."""
        digest = hashlib.sha256(content + name.encode()).hexdigest()
        self.blobs.put(digest, content + name.encode())
        described = {"files": [["a.py", 0, digest, len(content)]], "images": []}
        row = VersionRow(
            version=1, action="deploy", of_version=None, tag="",
            strategy="rolling", deployed_at=1.0, deployed_by="ada", commit_id=None, branch=None,
            dirty=None,
        )  # fmt: skip
        place = deployments.place_of_description(f"ap-{name}", 1)
        sealed = self.sealer.later(place, values.encode(described))
        self.session.run(lambda connection: deployments.add_version(
            connection, f"ap-{name}", name, row, sealed.sealed(), {}
        ))  # fmt: skip
        return digest

    def close(self) -> None:
        self.session.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    made.close()


def _apps(home: Path) -> list[str]:
    """The names of apps in a home, whose contents are all there."""
    with sqlite3.connect(home / "volant.db") as plain:
        names = sorted(name for (name,) in plain.execute("SELECT name FROM apps"))
        sealer = Sealer(Keyring(str(home)))
        for app_id, sealed in plain.execute("SELECT app_id, description FROM versions"):
            raw = sealer.open(deployments.place_of_description(app_id, 1), sealed)
            for entry in values.decode_map(raw)["files"]:
                content = (home / "blobs" / entry[2][:2] / entry[2]).read_bytes()
                assert hashlib.sha256(content).hexdigest() == entry[2]
    plain.close()
    return names


def _backup(home: Path, path: Path) -> dict[str, Any]:
    done = run_volant("server", "backup", path, "--json", home=home)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_what_was_backed_up_is_there_again(home: Home, tmp_path: Path):
    digest = home.deploy("one")
    (home.path / "tokens.json").write_text("{}")
    told = _backup(home.path, tmp_path / "copy")
    assert (told["blobs"], told["missing"], told["schema"]) == (1, [], database.HEAD)
    home.deploy("two")
    home.close()
    done = run_volant("server", "restore", tmp_path / "copy", home=home.path)
    assert done.returncode == 3
    assert "there is a database" in done.stderr
    assert "--force" in done.stderr
    done = run_volant("server", "restore", tmp_path / "copy", "--force", home=home.path)
    assert done.returncode == 0, done.stderr
    assert "restored" in done.stdout
    assert _apps(home.path) == ["one"]
    assert not (home.path / READY).exists()
    with sqlite3.connect(home.path / "volant.db.replaced") as old:  # what gave way is kept once
        assert len(old.execute("SELECT * FROM apps").fetchall()) == 2
    old.close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    assert run_volant("server", "restore", tmp_path / "copy", home=elsewhere).returncode == 0
    assert _apps(elsewhere) == ["one"]
    assert (elsewhere / "tokens.json").read_text() == "{}"
    assert (elsewhere / "volant.db").stat().st_mode & 0o777 == 0o600
    assert (elsewhere / "blobs" / digest[:2] / digest).samefile(
        tmp_path / "copy/blobs" / digest[:2] / digest
    )


def test_large_values_of_dicts_are_backed_up_and_checked(home: Home, tmp_path: Path):
    content = os.urandom(300_000)
    name = "0" * 32 + hashlib.sha256(content).hexdigest()[:32]
    file = home.path / "dicts/00" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    entry = EntryRow(
        object_id="di-1", key_hash=b"h", key=b"k", value=None, file=name, size=len(content),
        used_hour=1,
    )  # fmt: skip
    home.session.run(lambda connection: dicts.put(connection, [entry]))
    assert _backup(home.path, tmp_path / "copy")["blobs"] == 1
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    assert run_volant("server", "restore", tmp_path / "copy", home=elsewhere).returncode == 0
    assert same((elsewhere / "dicts/00" / name).read_bytes(), content)
    copied = tmp_path / "copy/dicts/00" / name
    copied.unlink()
    copied.write_bytes(content[::-1])
    done = run_volant("server", "restore", tmp_path / "copy", "--force", home=elsewhere)
    assert (done.returncode != 0, "is damaged" in done.stderr) == (True, True)
    copied.unlink()
    done = run_volant("server", "restore", tmp_path / "copy", "--force", home=elsewhere)
    assert f"such as {name}" in done.stderr


@pytest.mark.slow
def test_a_backup_is_one_moment_of_a_home_that_is_written_to(home: Home, tmp_path: Path):
    is_over = threading.Event()
    deployed: list[str] = []

    def deploy() -> None:
        while not is_over.is_set():
            name = f"app-{len(deployed):05}"
            home.deploy(name, os.urandom(2000))
            deployed.append(name)

    writer = threading.Thread(target=deploy)
    writer.start()
    try:
        for number in range(3):
            before = len(deployed)
            told = _backup(home.path, tmp_path / f"copy{number}")
            found = _apps(tmp_path / f"copy{number}")
            assert told["missing"] == []
            assert found == deployed[: len(found)]
            assert before <= len(found) <= len(deployed) + 1
    finally:
        is_over.set()
        writer.join()


def test_a_backup_takes_no_place_of_anything(home: Home, tmp_path: Path):
    home.deploy("one")
    (tmp_path / "copy").mkdir()
    done = run_volant("server", "backup", tmp_path / "copy", home=home.path)
    assert "there is something at" in done.stderr
    done = run_volant("server", "backup", tmp_path / "no/copy", home=home.path)
    assert (done.returncode, "there is no directory" in done.stderr) == (2, True)
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    done = run_volant("server", "backup", tmp_path / "other", home=empty)
    assert (done.returncode, "there is no database" in done.stderr) == (2, True)
    assert not (tmp_path / "other").exists()


def test_contents_that_are_gone_are_told(home: Home, tmp_path: Path):
    digest = home.deploy("one")
    (home.path / "blobs" / digest[:2] / digest).unlink()
    done = run_volant("server", "backup", tmp_path / "copy", home=home.path)
    assert done.returncode == 0
    assert f"1 contents that the database names were not there, such as {digest}" in done.stderr
    done = run_volant("server", "restore", tmp_path / "copy", "--force", home=home.path)
    assert done.returncode == 0
    assert digest in done.stderr


@pytest.mark.parametrize("damage", ["blob", "blob gone", "database", "manifest", "later", "no"])
def test_a_backup_that_is_damaged_changes_nothing(damage: str, home: Home, tmp_path: Path):
    digest = home.deploy("one")
    copy = tmp_path / "copy"
    _backup(home.path, copy)
    home.deploy("two")
    home.close()
    blob, manifest = copy / "blobs" / digest[:2] / digest, copy / "backup.json"
    told = json.loads(manifest.read_text())
    expected = {
        "blob": "is damaged",
        "blob gone": "lacks 1 contents",
        "database": "is not what",
        "manifest": "is no backup",
        "later": "of another release",
        "no": "is no backup",
    }
    if damage == "blob":
        blob.unlink()
        blob.write_bytes(b"other")
    elif damage == "blob gone":
        blob.unlink()
    elif damage == "database":
        with (copy / "volant.db").open("r+b") as file:
            file.seek(5000)
            file.write(b"x" * 100)
    elif damage == "manifest":
        manifest.write_text(json.dumps({**told, "files": {"../daemon.key": ""}}))
    elif damage == "later":
        manifest.write_text(json.dumps({**told, "format": 99}))
    else:
        manifest.unlink()
    done = run_volant("server", "restore", copy, "--force", home=home.path)
    assert done.returncode in {2, 3}
    assert expected[damage] in done.stderr
    assert _apps(home.path) == ["one", "two"]


def test_a_backup_of_a_later_schema_is_refused(home: Home, tmp_path: Path):
    home.deploy("one")
    _backup(home.path, tmp_path / "copy")
    with sqlite3.connect(tmp_path / "copy/volant.db") as plain:
        plain.execute("UPDATE alembic_version SET version_num = '9999'")
    plain.close()
    manifest = tmp_path / "copy/backup.json"
    told = json.loads(manifest.read_text())
    found = hashlib.sha256((tmp_path / "copy/volant.db").read_bytes()).hexdigest()
    manifest.write_text(json.dumps({**told, "files": {"volant.db": found}}))
    done = run_volant("server", "restore", tmp_path / "copy", "--force", home=home.path)
    assert "of a later schema (9999)" in done.stderr
    assert "upgrade" in done.stderr


def test_a_home_in_use_is_left_alone(home: Home, tmp_path: Path):
    home.deploy("one")
    _backup(home.path, tmp_path / "copy")
    code = (
        "import sys; from volantd import home_lock; home_lock.take(sys.argv[1], 0.0);"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, home.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        done = run_volant("server", "restore", tmp_path / "copy", "--force", home=home.path)
        holder.communicate()
    assert "a daemon runs in" in done.stderr
    assert home_lock.take(str(home.path), 0.0)


def test_a_database_in_postgresql_is_backed_up_and_put_back(
    tmp_path: Path, postgres: PostgresServer
):
    url = postgres.schema(f"backed{os.getpid()}")
    made, copy = Home(tmp_path / "home", url), tmp_path / "copy"
    digest = made.deploy("one")
    env = {"VOLANT_DATABASE_URL": url}

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        done = run_volant("server", *words, home=made.path, env=env)
        assert PASSWORD not in done.stdout + done.stderr
        assert QUOTED not in done.stdout + done.stderr
        return done

    assert run("backup", copy).returncode == 0  # while it is used
    assert sorted(one.name for one in copy.iterdir()) == [
        "backup.json", "blobs", "sealing.key", "volant.dump",
    ]  # fmt: skip
    made.deploy("two")
    (made.path / "blobs" / digest[:2] / digest).unlink()
    assert "another daemon uses" in run("restore", copy, "--force").stderr
    made.close()
    assert "there is something in" in run("restore", copy).stderr
    assert _deployed(made) == ["one", "two"]
    assert run("restore", copy, "--force").returncode == 0
    assert _deployed(made) == ["one"]
    assert (made.path / "blobs" / digest[:2] / digest).exists()
    env["VOLANT_DATABASE_URL"] = postgres.schema(f"elsewhere{os.getpid()}")
    assert "leads to" in run("restore", copy, "--force").stderr
    env["VOLANT_DATABASE_URL"] = ""
    assert "is a backup of a database in PostgreSQL" in run("restore", copy, "--force").stderr
    with (copy / "volant.dump").open("r+b") as file:
        file.truncate(1000)
    env["VOLANT_DATABASE_URL"] = url
    assert "is not what was backed up" in run("restore", copy, "--force").stderr
    assert _deployed(made) == ["one"]
    made.close()


def _deployed(home: Home) -> list[str]:
    query = text("SELECT name FROM apps ORDER BY name")
    names = list(home.session.run(lambda connection: connection.execute(query).scalars()))
    home.close()
    return names


def test_tables_of_a_later_release_give_way_to_an_earlier_backup(
    tmp_path: Path, postgres: PostgresServer
):
    url = postgres.schema(f"earlier{os.getpid()}")
    made, copy = Home(tmp_path / "home", url), tmp_path / "copy"
    earlier = ("DROP TABLE secrets", "UPDATE alembic_version SET version_num = '0005'")
    for statement in earlier:
        made.session.run(lambda connection, words=statement: connection.execute(text(words)))
    env = {"VOLANT_DATABASE_URL": url}
    assert run_volant("server", "backup", copy, home=made.path, env=env).returncode == 0
    made.session.run(metadata.create_all)
    made.close()
    done = run_volant("server", "restore", copy, "--force", home=made.path, env=env)
    assert done.returncode == 0, done.stderr
    with postgres.connect() as connection:
        [(found,)] = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE tablename = 'secrets' AND schemaname = %s",
            [f"earlier{os.getpid()}"],
        ).fetchall()
    assert found == 0


def test_without_the_tools_of_postgresql_it_says_what_to_install(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(dumps, "INSTALLED", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFoundError, match="`pg_dump` is not installed"):
        back_up(tmp_path, tmp_path / "copy", lambda *_: None, url="postgresql://ada@db/volant")
    for version in ("9", "15"):
        tool = tmp_path / version / "bin/pg_dump"
        tool.parent.mkdir(parents=True)
        tool.touch()
    assert dumps.find("pg_dump") == str(tool)


def _killed(verb: str, path: Path, home: Path, after: int) -> bool:
    """Kill a backup or a restoring after some lines of its report; False if it was faster."""
    with subprocess.Popen(
        [sys.executable, "-m", "volantd.backups", verb, path, *(["--force"] * (verb == "restore"))],
        env={**os.environ, "VOLANT_HOME": str(home)}, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for _ in range(after):
            process.stdout.readline()
        process.kill()
        return process.wait() != 0


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_no_backup_or_a_whole_one(home: Home, tmp_path: Path):
    for number in range(30):
        home.deploy(f"app-{number}", os.urandom(100_000))
    killed = 0
    for after in range(6):
        path = tmp_path / f"copy{after}"
        killed += _killed("backup", path, home.path, after)
        if path.exists():
            assert len(_apps(path)) == 30
        else:
            told = _backup(home.path, path)  # what was left does no harm
            assert told["blobs"] == 30
        assert not path.with_name(f".{path.name}.unfinished").exists()
    assert killed


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_the_old_state_or_the_new(home: Home, tmp_path: Path):
    for number in range(30):
        home.deploy(f"app-{number:02}", os.urandom(100_000))
    _backup(home.path, tmp_path / "copy")
    new = _apps(tmp_path / "copy")
    old = home.path.with_name("old")
    home.deploy("zebra")
    home.close()
    shutil.copytree(home.path, old)
    chance = random.Random(6)
    killed = 0
    for after in [*range(4), *(chance.randrange(20) for _ in range(4))]:
        shutil.rmtree(home.path)
        shutil.copytree(old, home.path)
        killed += _killed("restore", tmp_path / "copy", home.path, after)
        settle(str(home.path))  # as the daemon does at its start
        assert _apps(home.path) in (new, [*new, "zebra"])
        assert settle(str(home.path)) is False
    assert killed


@pytest.mark.parametrize("steps", range(7))
def test_the_last_step_can_be_broken_off_anywhere(steps: int, tmp_path: Path, monkeypatch):
    """The journal of the database that gives way is never found beside the new one."""
    for name, content in (
        ("volant.db", "old"),
        ("volant.db-wal", "old"),
        ("volant.db-shm", "old"),
        ("volant.db.replaced", "older"),
        ("volant.db.replaced-wal", "older"),
    ):
        (tmp_path / name).write_text(content)
    (tmp_path / READY).mkdir()
    (tmp_path / READY / "volant.db").write_text("new")
    (tmp_path / READY / "tokens.json").write_text("new")
    left = [steps]

    def counted(real: Any) -> Any:
        def act(*arguments: Any) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            real(*arguments)

        return act

    with monkeypatch.context() as patched:
        for name in ("replace", "unlink", "rmdir"):
            patched.setattr(os, name, counted(getattr(os, name)))
        with pytest.raises(KeyboardInterrupt):
            settle(str(tmp_path))
    settle(str(tmp_path))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "volant.db": "new", "tokens.json": "new", "volant.db.replaced": "old",
        "volant.db.replaced-wal": "old", "volant.db.replaced-shm": "old",
    }  # fmt: skip
