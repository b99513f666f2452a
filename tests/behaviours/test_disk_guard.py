"""The guard of the disk ends who fills it, however that hides, and spares who does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.programs import at_home, run_program
from volant.errors import SandboxTerminatedError

if TYPE_CHECKING:
    from pathlib import Path

#: The disk, and what has to be left of it, in MiB.
SMALL_DISK = pytest.mark.parametrize("small_disk", [(400, 240)], indirect=True)
WRITERS = """
import os, sys
import volant

app = volant.App("writers")

def write(path, mebibytes, keep=[]):
    keep.append(open(path, "wb", buffering=0))
    if path.endswith("hidden"): os.unlink(path)
    for _ in range(mebibytes): keep[-1].write(os.urandom(1 << 20))

if os.environ.get("VOLANT_IS_REMOTE") and IMPORT_WRITES:
    write("/tmp/by-import", 190)

@app.function()
def hide():
    import time
    write("/tmp/hidden", 256)
    time.sleep(60)

@app.function()
def little(seconds):
    import time
    write("/tmp/little", 32)
    time.sleep(seconds)
    return "spared"

if __name__ == "__main__":
    with app.run():
        try:
            if IMPORT_WRITES:
                little.remote(60)
            waiting = little.spawn(5)
            hide.remote()
        except volant.errors.InternalFailure as error:
            print(error)
        if not IMPORT_WRITES:
            print(waiting.get())
"""


def run_writers(home: Path, place: Path, *, import_writes: bool) -> str:
    program = place / "writers.py"
    program.write_text(f"IMPORT_WRITES = {import_writes}\n{WRITERS}")
    return run_program(program, home=home).stdout


@pytest.mark.slow
@SMALL_DISK
def test_a_file_without_a_name_betrays_its_writer(small_disk: Path, tmp_path: Path) -> None:
    """Issue 2, isolation: it is ended, and a neighbour that wrote less under a name is not."""
    told = run_writers(small_disk, tmp_path, import_writes=False)
    assert "the container of `hide` died" in told
    assert "it had written the most" in told
    assert told.endswith("spared\n")


@pytest.mark.slow
@SMALL_DISK
def test_an_import_that_fills_the_disk_is_ended_with_its_zygote(
    small_disk: Path, tmp_path: Path
) -> None:
    """Issue 2, isolation: what it wrote lies in no container."""
    told = run_writers(small_disk, tmp_path, import_writes=True)
    assert "the disk was nearly full" in told or "killed by signal 9" in told, told
    assert '"zygote_id"' in (small_disk / "daemon.log").read_text()


@SMALL_DISK
def test_a_sandbox_that_fills_the_disk_is_ended(small_disk: Path) -> None:
    """Issue 7, proof: also by a file that has no name any more."""
    filling = "f = open('/tmp/big', 'wb', 0)\nimport os; os.unlink('/tmp/big')\n"
    filling += "while True:\n try: f.write(os.urandom(1 << 20))\n except OSError: pass"
    app = volant.App("filling")
    with at_home(small_disk), app.run():
        other = volant.Sandbox.create(app=app)
        sandbox = volant.Sandbox.create("python3", "-c", filling, app=app)
        with pytest.raises(SandboxTerminatedError, match="the disk was nearly full"):
            sandbox.wait()
        assert other.exec("true").wait() == 0
