"""The runner works with the Pythons that images may hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.laboratory import Laboratory

VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


def interpreter(version: str) -> str | None:
    """A Python of that version on this machine that starts: on the PATH, or a pyenv's."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    candidates = [shutil.which(f"python{version}")]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += [str(path) for path in sorted(root.glob(f"versions/{version}.*/bin/python"))]
    for candidate in filter(None, candidates):
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(sys.executable, *sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        words = asked.stdout.split()
        if words[1:] == version.split("."):
            return words[0]
    return None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("rung", ["container", "process"])
def test_a_container_runs_on_python(version: str, rung: str, machine) -> None:
    if rung == "container" and machine.rung != "container":
        pytest.skip(f"no containers on this machine: {'; '.join(machine.reasons)}")
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    lab = Laboratory(rung, python)
    try:
        zygote = lab.zygote("import random")
        forked = lab.fork(zygote)
        code = "import sys; result = '.'.join(map(str, sys.version_info[:2]))"
        assert forked.ask(code) == version
        assert forked.ask("import cloudpickle; result = cloudpickle.__name__") == "cloudpickle"
        assert forked.end() == 9
    finally:
        lab.close()
