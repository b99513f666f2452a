"""The distribution as it is given away: what is in it, and that it works without the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

#: The wheel holds source text only; more would mean that something slipped in.
WHEEL_BYTES_MAX = 2_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_both_roots_their_types_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        tops = {name.partition("/")[0] for name in names}
        entry_points = archive.read("volant-0.1.0.dist-info/entry_points.txt").decode()
    assert tops == {"volant", "volantd", "volant-0.1.0.dist-info"}
    assert {"volant/py.typed", "volantd/py.typed"} <= names
    assert "volant-0.1.0.dist-info/licenses/LICENSE" in names
    assert "volant = volant.cli.main:main" in entry_points
    assert wheel.stat().st_size < WHEEL_BYTES_MAX


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import volant; print(volant.__file__)"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith(str(tmp_path))
