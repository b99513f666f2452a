"""The daemon of this folder: one for the whole session, used from this very process.

Tests that kill daemons, or need a second client, run a program of `apps` in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.image_builds import Gate, registry_with_base
from tests.behaviours.programs import Program
from tests.support import run_volant, stop_daemon
from volant.channel import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

    from tests.unit.images.registry_server import Registry

    StartProgram = Callable[..., Program]


@pytest.fixture(scope="session", autouse=True)
def _daemon(volant_home: Path) -> Iterator[None]:
    """Every call that a test makes goes to the daemon of this session."""
    assert volant_home.is_dir()
    yield
    current.forget()


@pytest.fixture
def own_home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    """A home whose daemon a test may harm."""
    home = tmp_path_factory.mktemp("own-home")
    home.chmod(0o700)
    try:
        yield home
    finally:
        stop_daemon(home)


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    """A registry that has `python:base`."""
    with registry_with_base() as server:
        yield server


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Where steps of images wait."""
    made = Gate()
    yield made
    made.close()


@pytest.fixture
def start(volant_home: Path) -> Iterator[StartProgram]:
    """Starts programs, which end with the test."""
    started: list[Program] = []

    def start_program(*words: object, home: Path = volant_home, **options: bool) -> Program:
        program = Program(*words, home=home, **options)
        started.append(program)
        return program

    try:
        yield start_program
    finally:
        for program in started:
            program.kill()


@pytest.fixture
def run(volant_home: Path):  # a closure over `run_volant`
    """Runs `volant run ...` and returns what it said."""

    def run_command(*words: object, **options: str) -> subprocess.CompletedProcess[str]:
        return run_volant("run", *map(str, words), home=volant_home, **options)

    return run_command


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A home on a small file system of its own, given its size and the reserve, in MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    size_mib, reserve_mib = request.param
    home = tmp_path / "home"
    home.mkdir()
    options = f"size={size_mib}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "volant-test", home], check=True)
    try:
        (home / "config.toml").write_text(f"disk_reserve_mib = {reserve_mib}\n")
        yield home
    finally:
        stop_daemon(home)
        subprocess.run(["umount", "--lazy", home], check=True)
