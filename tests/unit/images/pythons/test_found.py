"""Which Pythons of this machine images can have."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
import venv
from typing import TYPE_CHECKING

import pytest

from volantd.images.pythons.found import bring, find, missing

if TYPE_CHECKING:
    from pathlib import Path

SERIES = f"{sys.version_info[0]}.{sys.version_info[1]}"


#: Its files lie among those of others, so it is none to move.
moves = pytest.mark.skipif(
    "deb_system" in sysconfig.get_scheme_names(),
    reason="this machine's Python is its distribution's",
)


@moves
def test_the_interpreter_that_runs_here_is_found() -> None:
    found = asyncio.run(find(SERIES, sys.base_prefix))
    assert found is not None
    assert found.release == sys.version_info[:3]
    assert found.version == sys.version
    assert {"zlib", "hashlib"} <= set(found.works)
    assert f"lib/python{SERIES}" in found.parts


@moves
def test_a_directory_of_installations_is_looked_through(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions/one").symlink_to(sys.base_prefix)
    found = asyncio.run(find(SERIES, f"/nonexistent:{tmp_path}/versions"))
    assert found is not None
    assert found.prefix == os.path.realpath(sys.base_prefix)


def test_a_virtual_environment_is_none_to_move(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    assert asyncio.run(find(SERIES, str(tmp_path / "venv"))) is None


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "echo '{}'", "echo '[]'"])
def test_a_program_that_is_no_python_is_passed_over(tmp_path: Path, script: str) -> None:
    program = tmp_path / f"bin/python{SERIES}"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert asyncio.run(find(SERIES, str(tmp_path))) is None


def test_uv_is_asked_for_what_is_not_here_and_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "bin/uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\necho no network >&2; exit 2\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{uv.parent}:{os.environ['PATH']}")
    heard: list[bytes] = []
    assert asyncio.run(bring("3.14", str(tmp_path), heard.append)) is None
    assert b"no network" in b"".join(heard)


def test_the_daemons_own_uv_is_asked_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV_OFFLINE", "1")
    heard: list[bytes] = []
    assert asyncio.run(bring("3.14", str(tmp_path), heard.append)) is None
    assert b"Failed to install cpython-3.14" in b"".join(heard)


@moves
def test_one_that_uv_brings_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "bin/uv"
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\nmkdir -p "$4" && ln -s {sys.base_prefix} "$4/brought"\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{uv.parent}:{os.environ['PATH']}")
    found = asyncio.run(bring(SERIES, str(tmp_path / "brought"), lambda data: None))
    assert found is not None


def test_a_missing_one_is_an_error_that_says_how_to_get_it() -> None:
    error = missing("3.14")
    assert "no Python 3.14" in error.message
    assert "pyenv install 3.14" in (error.hint or "")
    assert "image_python_dirs" in (error.hint or "")
