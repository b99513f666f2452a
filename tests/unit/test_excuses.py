"""Skips on a build machine, seen in a pytest of its own that has our conftest."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import excuses
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
import pytest

def test_without_excuse():
    pytest.skip("no containers on this machine: it rains")

def test_with_excuse():
    pytest.skip("there is no Python 3.14 on this machine")

@pytest.fixture
def missing():
    pytest.skip("the fixture is not in the mood")

def test_fixture(missing):
    pass
"""


def outcome(tmp_path: Path, ci: str) -> str:
    """What pytest says."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text("from tests.conftest import *  # noqa\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_suite.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_a_skip_without_excuse_fails_on_a_build_machine(tmp_path: Path) -> None:
    assert "1 failed, 1 skipped, 1 error" in outcome(tmp_path, "true")


def test_the_last_lines_name_what_failed_and_are_short(tmp_path: Path) -> None:
    *_, first, second = outcome(tmp_path, "true").splitlines()
    assert first.startswith("failed: test_suite.py::test_without_excuse: Skipped: no containers")
    assert second.startswith("failed: test_suite.py::test_fixture: ")
    assert len(second) <= 300


def test_a_skip_is_just_a_skip_elsewhere(tmp_path: Path) -> None:
    assert "3 skipped" in outcome(tmp_path, "")


@pytest.mark.parametrize("reason", ["no limits by cgroup: Permission denied (/sys)",
                                    "only root can become somebody else"])  # fmt: skip
def test_excuses_of_plain_users_are_none_for_root(reason: str) -> None:
    assert excuses.is_excused(reason, is_root=False)
    assert not excuses.is_excused(reason, is_root=True)
