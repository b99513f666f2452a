"""One laboratory per rung and module; a machine without the rung skips, saying why."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.runtime.laboratory import Laboratory
from volantd.runtime import probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.runtime.laboratory import Container
    from volantd.runtime.client import Zygote


@pytest.fixture(scope="session")
def machine() -> probe.Probe:
    with tempfile.TemporaryDirectory() as place:
        return probe.probe(place)


@pytest.fixture(scope="module", params=["container", "process"])
def lab(request: pytest.FixtureRequest, machine: probe.Probe) -> Iterator[Laboratory]:
    yield from _laboratory(request.param, machine)


@pytest.fixture(scope="module")
def container_lab(machine: probe.Probe) -> Iterator[Laboratory]:
    yield from _laboratory("container", machine)


def _laboratory(rung: str, machine: probe.Probe) -> Iterator[Laboratory]:
    if rung == "container" and machine.rung != "container":
        pytest.skip(f"no containers on this machine: {'; '.join(machine.reasons)}")
    if rung == "process" and os.uname().sysname != "Linux":
        pytest.skip("the process rung is tested on Linux only")
    laboratory = Laboratory(rung)
    try:
        yield laboratory
    finally:
        laboratory.close()


@pytest.fixture(scope="module")
def shared_zygote(lab: Laboratory) -> Zygote:
    """A zygote for tests that only look around in its containers."""
    zygote = lab.bare_zygote()
    lab.prepare(zygote, "import random", [("data/words.txt", 0o644, b"one two")])
    return zygote


@pytest.fixture
def container(lab: Laboratory, shared_zygote: Zygote) -> Iterator[Container]:
    forked = lab.fork(shared_zygote, {"files": 256, "file_size_bytes": 1 << 20})
    yield forked
    forked.end()


@pytest.fixture
def tree_with_mounts(container_lab: Laboratory) -> Iterator[Path]:
    """A directory with another file system in it, and a file that is mounted over one of its."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    place = container_lab.place / "with-mounts"
    (place / "driver").mkdir(parents=True)
    for path, text in ((place / "library", "covered"), (container_lab.place / "over", "mounted")):
        path.write_text(text)
    mounts = {
        place / "driver": ["-t", "tmpfs", "driver"],
        place / "library": ["--bind", str(container_lab.place / "over")],
    }
    for target, source in mounts.items():
        subprocess.run(["mount", *source, target], check=True)
    (place / "driver/part").write_text("part")
    yield place
    for target in mounts:
        subprocess.run(["umount", "--lazy", target], check=True)
    shutil.rmtree(place)
