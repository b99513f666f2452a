"""Runs this tier, and tests of images, as a user without any privilege when root runs the tests."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uv

from tests import gvisor
from tests.support import ROOT
from volantd.lent import WEB_PACKAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="this very run is a plain user's")

USER_ID = 12345
PACKAGES = (
    "pytest",
    "_pytest",
    "pluggy",
    "iniconfig",
    "packaging",
    "pygments",
    "cloudpickle",
    "py",
    "uv",
    "uvloop",
    "rich",
    "cronsim",
    "dateutil",
    "sqlalchemy",
    "typing_extensions",
    "cryptography",
    "cffi",
    "_cffi_backend",
    "pycparser",
    *WEB_PACKAGES,
)
SERIES = sys.version_info[:2]
WITHIN_S = 300


def as_user(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, user=USER_ID, group=USER_ID, extra_groups=[], capture_output=True, text=True,
        check=False, timeout=WITHIN_S, **options,
    )  # fmt: skip


def python_for_all(*, is_same: bool) -> str | None:
    """A Python that the user may run, new enough for the daemon, or of the series of this one."""
    names = [f"/usr/bin/python3.{minor}" for minor in range(11, 15)]
    code = "import sys, ctypes; sys.exit(sys.version_info < (3, 11))"
    if is_same:
        code = f"import sys, ctypes; sys.exit(sys.version_info[:2] != {SERIES})"
    for name in [sys.executable, *names]:
        try:
            if os.path.exists(name) and as_user([name, "-c", code], cwd="/").returncode == 0:
                return name
        except PermissionError:
            continue
    return None


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory with all that the user needs to run tests."""
    made = Path(tempfile.mkdtemp(prefix="volant-user-"))
    try:
        made.chmod(0o755)
        shutil.copytree(ROOT / "src", made / "src")
        for name in PACKAGES:
            found = importlib.util.find_spec(name)
            assert found is not None
            assert found.origin is not None
            if found.submodule_search_locations is None:
                shutil.copy(found.origin, made / "packages")
            else:
                shutil.copytree(Path(found.origin).parent, made / "packages" / name)
        (made / "packages/bin").mkdir()
        shutil.copy(uv.find_uv_bin(), made / "packages/bin")
        with contextlib.suppress(gvisor.UnavailableError):
            shutil.copy(gvisor.find(), made / "packages/bin")
        shutil.copytree(ROOT / "tests", made / "tests")
        shutil.copy(ROOT / "pyproject.toml", made)
        subprocess.run(["chmod", "-R", "a+rX,go-w", str(made)], check=True)
        (made / "tmp").mkdir()
        os.chown(made / "tmp", USER_ID, USER_ID)
        yield made
    finally:
        shutil.rmtree(made)


def hold(place: Path, *words: str, python: str | None) -> None:
    """Run tests as the user; some have to be there, and all of them to pass."""
    if python is None:
        pytest.skip("no Python that fits and that other users may run")
    env = {
        "PYTHONPATH": f"{place}/src:{place}/packages", "TMPDIR": f"{place}/tmp",
        "PATH": f"{os.defpath}:{place}/packages/bin", "HOME": f"{place}/tmp",
        "PYTHONDONTWRITEBYTECODE": "1", "CI": os.environ.get("CI", ""),
    }  # fmt: skip
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    done = as_user([*command, *words], env=env, cwd=place)
    print(done.stdout[-6000:], done.stderr[-2000:])
    assert done.returncode == 0
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_runtime_holds_for_a_plain_user(place: Path) -> None:
    hold(place, "tests/runtime", python=python_for_all(is_same=False))


@pytest.mark.slow
def test_images_hold_for_a_plain_user(place: Path) -> None:
    """Issue 3: they are built, run and removed where there is one id."""
    files = ("tests/behaviours/test_images.py", "tests/behaviours/test_dockerfiles.py")
    hold(place, *files, python=python_with_command(place))


@pytest.mark.slow
def test_sandboxes_hold_for_a_plain_user(place: Path) -> None:
    """Issue 7, proof: no attempt gets out where what is outside has the same id."""
    files = sorted((place / "tests/behaviours").glob("test_sandbox*.py"))
    hold(place, *map(str, files), python=python_with_command(place))


def python_with_command(place: Path) -> str | None:
    """A Python that the user may run, with the command `volant` beside it."""
    # The daemon has parts that were compiled for one series.
    python = python_for_all(is_same=True)
    if python is None:
        return None
    programs = place / "environment/bin"
    subprocess.run([python, "-m", "venv", "--without-pip", programs.parent], check=True)
    python = str(programs / "python")
    (programs / "volant").write_text(f'#!/bin/sh\nexec {python} -m volant "$@"\n')
    (programs / "volant").chmod(0o755)
    return python
