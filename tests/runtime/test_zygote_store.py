"""Zygotes of versions and of functions: who gets which, and when one ends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.laboratory import IMPORT_WITHIN_S
from tests.runtime.test_bare import ENTRY, Background
from volant import config
from volant.sdk.images.host import host_wire
from volantd import lent
from volantd.agent.bare import Machine
from volantd.agent.zygotes import ZygoteStore
from volantd.hub.records import Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.laboratory import Laboratory
    from volantd.agent.zygotes import Prepared

#: The laboratory's zygotes run the source of their entry.
SOURCE = "def f(): import colorsys, this"


class Place:
    """A store whose programs consist of one function."""

    def __init__(self, lab: Laboratory) -> None:
        self.lab = lab
        self.tasks: Any = Background()
        self.store: ZygoteStore = lab.run(self._make())
        entry = {**ENTRY, "source": SOURCE}
        self.version = Version(
            key="v", image=host_wire(), entry=entry, files=(("app.py", 0o644, "digest", 1),),
            env={}, block_network=False, imports=True,
        )  # fmt: skip

    async def _make(self) -> ZygoteStore:
        machine = Machine()
        machine.launcher = self.lab.launcher
        machine.lent_dir = lent.directory(str(self.lab.place))
        machine.rung.set_result(self.lab.rung)
        nothing: Any = None
        blobs: Any = SimpleNamespace(get=self._content)
        settings = config.load({"VOLANT_SPARE_CONTAINERS": "0"})
        return ZygoteStore(settings, machine, blobs, nothing, self.tasks)

    async def _content(self, digest: str) -> bytes:
        return SOURCE.encode()

    def function(self, *, gpu: bool = False) -> Any:
        return SimpleNamespace(name="f", version=self.version, options={"gpu": [["T4", 1]] * gpu})

    def get(self, *, gpu: bool = False) -> Prepared:
        prepared: Prepared = self.lab.run(self.store.get_for(self.function(gpu=gpu)))
        return prepared

    def learn(self, *names: str) -> None:
        async def learn() -> None:
            self.store.late.learn(self.function(), names)

        self.lab.run(learn())

    def await_late(self) -> Prepared:
        async def find() -> Prepared | None:
            return self.store.late.find(self.function())

        found: Prepared = self.lab.eventually(lambda: self.lab.run(find()))
        return found

    def await_end(self, prepared: Prepared) -> None:
        self.lab.run(asyncio.wait_for(asyncio.shield(prepared.zygote.exited), IMPORT_WITHIN_S))

    def close(self) -> None:
        while self.store.evict_oldest():
            pass


@pytest.fixture
def place(lab: Laboratory) -> Iterator[Place]:
    made = Place(lab)
    yield made
    made.close()


def test_what_is_refused_is_left_out_and_the_rest_is_imported(place: Place) -> None:
    base = place.get()
    place.learn("this", "colorsys")  # `this` prints
    late = place.await_late()
    assert late.late == ("colorsys",)
    assert place.get() is late
    assert place.get(gpu=True) is base, "as made by `with_options(gpu=...)`"
    assert place.lab.run(place.store.get(place.version)) is base


def test_a_zygote_that_was_replaced_ends_with_its_last_container(place: Place) -> None:
    place.get()
    place.learn("colorsys")
    first = place.await_late()
    first.in_use += 1

    async def replace() -> None:
        place.store.retire(first)

    place.lab.run(replace())
    assert first.usable
    first.in_use -= 1
    place.get()
    place.await_end(first)


def test_functions_with_a_gpu_get_none_that_has_imported_more(place: Place) -> None:
    base = place.get()
    base.late = ("colorsys",)
    plain = place.get(gpu=True)
    assert plain is not base
    assert plain is place.get(gpu=True)
    assert plain.late == ()
