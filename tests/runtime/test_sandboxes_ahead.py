"""Bases of sandboxes that are made ahead of their image, and get it while they run."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.behaviours import host_base
from tests.runtime.laboratory import ANSWER_WITHIN_S, IMPORT_WITHIN_S
from tests.runtime.test_bare import Background
from volant import config
from volant.runner.isolate import LAYERS_AHEAD
from volantd import lent
from volantd.agent.bare import Machine
from volantd.agent.sandboxes.bases import Bases, lending_spec
from volantd.agent.zygotes import ZygoteStore
from volantd.hub.records import Version
from volantd.images.builder import Built
from volantd.runtime.client import RuntimeFailedError
from volantd.runtime.sandboxes.holder import Holder, RunSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.runtime.laboratory import Laboratory
    from volantd.runtime.client import Zygote

FILES = [("attached", 0o644, b"attached")]


@pytest.fixture(scope="module")
def layers(container_lab: Laboratory) -> tuple[str, ...]:
    """Of an image with a shell: the one above replaces a file of the one below."""
    places = [container_lab.place / name for name in ("below", "above")]
    for place in places:
        (place / "srv").mkdir(parents=True)
        (place / "srv" / "which").write_text(place.name)
    subprocess.run(["tar", "-x", "-C", str(places[0])], input=host_base.bare_layer(), check=True)
    return tuple(map(str, places))


@pytest.fixture(params=[False, True], ids=["shared", "blocked"])
def blank(request: pytest.FixtureRequest, container_lab: Laboratory) -> Iterator[Zygote]:
    spec = lending_spec(lent.directory(str(container_lab.place)), block_network=request.param)
    spec = dataclasses.replace(spec, is_blank=True)
    made: Zygote = container_lab.run(container_lab.launcher.spawn_zygote(spec, os.urandom(4).hex()))
    container_lab.run(made.prepare([], None, {}, timeout_s=IMPORT_WITHIN_S))
    yield made
    container_lab.end(made)


async def _said(zygote: Zygote, name: str, script: str) -> str:
    """What a command prints in a sandbox of its own."""
    forked = await zygote.fork(name, hostname=name)
    holder = Holder(forked)
    spec = RunSpec(
        argv=["sh", "-c", script], env={"PATH": "/usr/bin"}, cwd=None, makes_cwd=True,
        terminal=None, piped=(False, True, False),
    )  # fmt: skip
    command = await holder.run("cm", spec)
    async with asyncio.timeout(ANSWER_WITHIN_S):
        await command.exited
        text = os.read(command.fds[0], 4096).decode()
    os.close(command.fds[0])
    forked.kill()
    await forked.exited
    holder.close()
    forked.sdk.close()
    os.close(forked.stdout_fd)
    os.close(forked.stderr_fd)
    return text


def test_a_base_shows_the_image_that_it_gets_while_it_runs(
    container_lab: Laboratory, blank: Zygote, layers: tuple[str, ...]
) -> None:
    """Issue 7: a sandbox of a snapshot does not wait for an interpreter."""
    container_lab.run(blank.show(layers, "/srv/work"))
    assert container_lab.launcher.layers[blank.zygote_id] == layers
    container_lab.run(blank.prepare(FILES, None, {}, timeout_s=IMPORT_WITHIN_S))
    script = "pwd; cat /srv/which /root/attached; echo; ls -A / /usr; echo changed > /srv/which"
    for name in ("first", "second"):
        said = container_lab.run(_said(blank, name, script))
        lines = said.splitlines()
        assert lines[:2] == ["/srv/work", "aboveattached"]
        assert not {".volant", "python3", "share"} & set(lines)
    assert Path(layers[1], "srv", "which").read_text() == "above"


def test_what_is_mounted_in_a_tree_does_not_keep_a_sandbox_from_changing_it(
    container_lab: Laboratory, tree_with_mounts: Path
) -> None:
    trees = (*container_lab.trees(), str(tree_with_mounts))
    zygote = container_lab.bare_zygote(trees=trees, is_for_sandboxes=True)
    container_lab.run(zygote.prepare([], None, {}, timeout_s=IMPORT_WITHIN_S))
    script = (
        f"cd {tree_with_mounts}; cat library driver/part; echo; echo changed > own; cat own;"
        " for name in library driver/part driver; do rm -rf $name 2>/dev/null || echo refused; done"
    )
    said = container_lab.run(_said(zygote, "changing", script))
    assert said.splitlines() == ["mountedpart", "changed", "refused", "refused", "refused"]
    assert sorted(os.listdir(tree_with_mounts)) == ["driver", "library"]
    assert (tree_with_mounts / "driver/part").read_text() == "part"


@pytest.mark.skipif(os.geteuid() != 0, reason="a normal user shows what is his own")
def test_what_is_private_to_people_of_this_machine_stays_so(container_lab: Laboratory) -> None:
    """Root of a sandbox reads any file of its image; this machine's has files of people."""
    shown = container_lab.place / "shown"
    shown.mkdir()
    for name, owner, mode in (("hers", 1000, 0o600), ("open", 1000, 0o644), ("system", 7, 0o600)):
        (shown / name).write_text(f"{name} ")
        (shown / name).chmod(mode)
        os.chown(shown / name, owner, owner)
    trees = (*container_lab.trees(), str(shown))
    zygote = container_lab.bare_zygote(trees=trees, is_for_sandboxes=True)
    container_lab.run(zygote.prepare([], None, {}, timeout_s=IMPORT_WITHIN_S))
    script = f"cd {shown}; cat system open; cat hers || chown 0 hers || chmod 777 hers || echo no"
    assert container_lab.run(_said(zygote, "looks", script)) == "system open no\n"
    assert (shown / "hers").stat().st_uid == 1000
    container_lab.end(zygote)


@pytest.mark.parametrize("blank", [False], indirect=True)
def test_what_cannot_be_shown_is_said(
    container_lab: Laboratory, blank: Zygote, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeFailedError, match=r"nothing was mounted: .*No such file"):
        container_lab.run(blank.show((str(tmp_path / "gone"),), None))


class Place:
    """Bases of images that are here."""

    def __init__(self, lab: Laboratory, layers: tuple[str, ...]) -> None:
        self.lab = lab
        self.layers = layers
        self.bases: Bases = lab.run(self._make())

    async def _make(self) -> Bases:
        machine = Machine()
        machine.launcher = self.lab.launcher
        machine.lent_dir = lent.directory(str(self.lab.place))
        machine.rung.set_result("container")
        as_any: Any = self
        settings = config.load({})
        tasks: Any = Background()
        return Bases(settings, ZygoteStore(settings, machine, as_any, as_any, tasks), as_any,
                     as_any, tasks)  # fmt: skip

    @contextlib.asynccontextmanager
    async def use(self, version: Version, say: object) -> AsyncIterator[Built]:
        yield Built(image_id="im", layers=self.layers, env={})

    async def get(self, name: str) -> Zygote:
        """The base of an image that has a name and these layers."""
        image = {"kind": "built", "steps": [{"kind": "named", "key": name}], "attached": []}
        version = Version(
            key=name, image=image, entry={}, files=(), env={}, block_network=False, imports=False,
        )  # fmt: skip
        return (await self.bases.get(version, lambda printed: None)).zygote

    def blank(self) -> Zygote | None:
        """The one that waits for an image."""
        return next(iter(self.bases.ahead._blank.values()), None)


@pytest.fixture
def place(container_lab: Laboratory, layers: tuple[str, ...]) -> Iterator[Place]:
    made = Place(container_lab, layers)
    yield made
    container_lab.run(_ended(made))


async def _ended(place: Place) -> None:
    place.bases.ahead.end()


def test_the_next_new_image_gets_the_base_that_waits(place: Place) -> None:
    first = place.lab.run(place.get("first"))
    waiting = place.lab.eventually(place.blank)
    assert place.lab.run(place.get("first")) is first
    assert place.lab.run(place.get("second")) is waiting
    assert place.lab.run(_said(waiting, "first", "cat /srv/which")) == "above"
    assert place.lab.eventually(place.blank) is not waiting


def test_an_image_that_the_base_that_waits_cannot_show_has_one_of_its_own(
    place: Place, tmp_path: Path
) -> None:
    place.lab.run(place.get("first"))
    waiting = place.lab.eventually(place.blank)
    more = [tmp_path / str(number) for number in range(LAYERS_AHEAD)]
    for path in more:
        path.mkdir()
    place.layers = (*place.layers, *map(str, more))
    many = place.lab.run(place.get("many"))
    assert many is not waiting
    assert place.lab.run(_said(many, "first", "cat /srv/which")) == "above"
    assert place.blank() is waiting


def test_a_base_that_was_ended_while_it_waited_is_nobody_s(place: Place) -> None:
    place.lab.run(place.get("first"))
    waiting = place.lab.eventually(place.blank)
    os.kill(waiting.pid, signal.SIGKILL)
    second = place.lab.run(place.get("second"))
    assert second is not waiting
    assert place.lab.run(_said(second, "first", "cat /srv/which")) == "above"
