"""Builds whose clients go away: they end with the last who waits, and leave what is finished."""

from __future__ import annotations

import json
import os
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.image_builds import (
    WITHIN_S,
    home_of_images,
    processes_of,
)
from tests.behaviours.programs import program_file
from tests.support import eventually, run_volant, stop_daemon
from volant.channel import current
from volant.errors import ImageBuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

    from tests.behaviours.image_builds import (
        Gate,
    )
    from tests.behaviours.programs import Program
    from tests.unit.images.registry_server import Registry


INTERRUPTED = 130


@pytest.fixture(scope="module")
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "ends") as made:
        yield made


class Waiting:
    """Programs whose image has a step that is finished and one that waits at the gate."""

    def __init__(self, registry: Registry, gate: Gate, place: Path) -> None:
        self.gate = gate
        #: A child of the step's shell writes on, too.
        self.steps = (
            f"echo {place.name} > /finished",
            f"echo half > /half; (while :; do :; done) & {gate.command}",
        )
        self.base = f"{registry.host}/python:base"
        self.program = program_file(place, (
            "import volant\n"
            f"image = volant.Image.from_registry({self.base!r})"
            f".run_commands({self.steps[0]!r}).run_commands({self.steps[1]!r})\n"
            "app = volant.App('waiting', image=image)\n"
            "@app.function()\n"
            "def text(): return open('/half').read()\n"
            "@app.local_entrypoint()\n"
            "def main(): print(text.remote(), end='')\n"
        ))  # fmt: skip

    @property
    def image(self) -> volant.Image:
        image = volant.Image.from_registry(self.base)
        return image.run_commands(self.steps[0]).run_commands(self.steps[1])


@pytest.fixture
def waiting(registry: Registry, home: Path, gate: Gate, tmp_path: Path) -> Waiting:
    return Waiting(registry, gate, tmp_path)


def rows(home: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        run_volant("image", "list", "--json", home=home).stdout
    )
    return found


def states(home: Path) -> dict[str, str]:
    return {row["image_id"]: row["state"] for row in rows(home)}


def wait_until_nothing_is_built(home: Path) -> None:
    eventually(lambda: "building" not in states(home).values(), within_s=WITHIN_S)
    eventually(lambda: os.listdir(home / "images/work") == [], within_s=WITHIN_S)


def steps_that_run(home: Path) -> list[str]:
    """Command lines of processes that builds of this home have started."""
    run_ids = [name for name in os.listdir(home / "run") if not name.endswith(".lock")]
    found = []
    for run_id in run_ids:
        for pid in processes_of(run_id):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                found.append(file.read().replace(b"\0", b" ").decode())
    return [line for line in found if "while :; do :; done" in line]


@pytest.mark.parametrize("end", ["interrupt", "kill"])
def test_a_build_ends_with_its_client_and_the_next_begins_anew(
    waiting: Waiting, home: Path, start: Callable[..., Program], end: str
) -> None:
    """Nothing of the step that was being built is left; the one before is not built again."""
    program = start("-m", "volant", "run", waiting.program, home=home)
    with waiting.gate.wait() as step:
        assert len(steps_that_run(home)) == 2
        getattr(program, end)()
        step.settimeout(WITHIN_S)
        assert step.recv(1) == b"", "the step's processes are gone"
    if end == "interrupt":
        code, printed, complaint = program.end()
        assert (code, printed) == (INTERRUPTED, ""), complaint
        assert "Traceback" not in complaint
    wait_until_nothing_is_built(home)
    assert steps_that_run(home) == []
    failed = next(row for row in reversed(rows(home)) if row["state"] == "failed")
    lines = run_volant("image", "logs", failed["image_id"], home=home).stdout.splitlines()
    assert lines[-1] == "volant: it was ended, because nobody waited for it any more"
    again = start("-m", "volant", "run", waiting.program, home=home)
    waiting.gate.wait().close()
    code, printed, complaint = again.end()
    assert (code, printed) == (0, "half\n"), complaint
    assert "step 3 of 3" in complaint
    assert "step 2 of 3" not in complaint


def test_a_build_goes_on_while_anybody_waits_for_it(
    waiting: Waiting, home: Path, start: Callable[..., Program]
) -> None:
    program = start("-m", "volant", "run", waiting.program, home=home)
    step = waiting.gate.wait()
    other = Thread(target=waiting.image.build)
    other.start()
    eventually(lambda: "image-build" in str(rows(home)), within_s=WITHIN_S)
    program.interrupt()
    assert program.end()[0] == INTERRUPTED
    with step:
        pass
    other.join(WITHIN_S)
    assert not other.is_alive()
    assert waiting.image.build().object_id is not None, "it was not built once more"


def test_who_waits_for_the_image_of_an_app_that_is_stopped_is_told(
    waiting: Waiting, home: Path
) -> None:
    caught: list[ImageBuildError] = []

    def build() -> None:
        with pytest.raises(ImageBuildError) as error:
            waiting.image.build()
        caught.append(error.value)

    builder = Thread(target=build)
    builder.start()
    with waiting.gate.wait():
        told = run_volant("app", "stop", "image-build", home=home)
        assert told.returncode == 0, told.stderr
        builder.join(WITHIN_S)
    assert "the app that wanted it has ended" in caught[0].message
    wait_until_nothing_is_built(home)


def test_a_daemon_that_is_stopped_ends_its_builds(
    waiting: Waiting, home: Path, start: Callable[..., Program]
) -> None:
    program = start("-m", "volant", "run", waiting.program, home=home)
    with waiting.gate.wait() as step:
        program.kill()  # it would start the next daemon
        step.settimeout(WITHIN_S)
        stop_daemon(home)
        current.forget()
        assert step.recv(1) == b""
    assert os.listdir(home / "images/work") == []
