"""Runs this tier once more as a user without any privilege, when the tests run as root."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support import ROOT

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
)
WITHIN_S = 300


def as_user(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, user=USER_ID, group=USER_ID, extra_groups=[], capture_output=True, text=True,
        check=False, timeout=WITHIN_S, **options,
    )  # fmt: skip


def python_for_all() -> str | None:
    """A Python that the user may run, new enough for the daemon."""
    names = [f"/usr/bin/python3.{minor}" for minor in range(11, 15)]
    code = "import sys, ctypes; sys.exit(sys.version_info < (3, 11))"
    for name in [sys.executable, *names]:
        try:
            if os.path.exists(name) and as_user([name, "-c", code], cwd="/").returncode == 0:
                return name
        except PermissionError:
            continue
    return None


@pytest.mark.slow
def test_the_runtime_holds_for_a_plain_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("this very run is a plain user's")
    python = python_for_all()
    if python is None:
        pytest.skip("no Python from 3.11 on that other users may run")
    place = Path(tempfile.mkdtemp(prefix="volant-user-"))
    try:
        place.chmod(0o755)
        shutil.copytree(ROOT / "src", place / "src")
        for name in PACKAGES:
            found = importlib.util.find_spec(name)
            assert found is not None
            assert found.origin is not None
            if found.submodule_search_locations is None:
                shutil.copy(found.origin, place / "packages")
            else:
                shutil.copytree(Path(found.origin).parent, place / "packages" / name)
        (place / "tests").mkdir()
        for name in ("__init__.py", "conftest.py", "excuses.py", "support.py"):
            shutil.copy(ROOT / "tests" / name, place / "tests")
        shutil.copytree(ROOT / "tests/runtime", place / "tests/runtime")
        shutil.copy(ROOT / "pyproject.toml", place)
        subprocess.run(["chmod", "-R", "a+rX,go-w", str(place)], check=True)
        (place / "tmp").mkdir()
        os.chown(place / "tmp", USER_ID, USER_ID)
        env = {
            "PYTHONPATH": f"{place}/src:{place}/packages", "TMPDIR": f"{place}/tmp",
            "PATH": os.defpath, "HOME": f"{place}/tmp", "PYTHONDONTWRITEBYTECODE": "1",
            "CI": os.environ.get("CI", ""),
        }  # fmt: skip
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
        done = as_user([*command, "tests/runtime"], env=env, cwd=place)
        print(done.stdout[-6000:], done.stderr[-2000:])
        assert done.returncode == 0
        assert " passed" in done.stdout
    finally:
        shutil.rmtree(place)
