"""Volant's client as a builder of images, on a base that is made of this machine's Python."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import volant
from benchmarks.contestants.volant_side import Running
from tests.behaviours import host_base
from tests.unit.images.registry_server import Registry
from volant import config
from volant.channel import current

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What follows the end of a container takes a moment.
_SETTLE_S = 0.2


class Imported(Running):
    """Calls that find no container of an image whose app imports large packages."""

    def __init__(self) -> None:
        from benchmarks.apps.imported import app, image, use

        super().__init__(app)
        self._image, self._use = image, use
        self._images = Path(config.load().home, "images")
        use.remote()

    def turn(self, *, wants: str = "result_ms") -> dict[str, object]:
        """A call from zero; or what a second image adds on disk."""
        if wants == "added_mb":
            return {wants: self._added_mb()}
        self.wait_for_zero(_SETTLE_S)
        begun = perf_counter()
        self._use.remote()
        return {wants: (perf_counter() - begun) * 1e3}

    def _added_mb(self) -> float:
        first, second = (self._image.run_commands(f"echo {text} > /last") for text in "ab")
        first_call_ms(first)
        before = _blocks(self._images)
        first_call_ms(second)
        return (_blocks(self._images) - before) / 1e6


def first_call_ms(image: volant.Image) -> float:
    """Time until an app in an image has answered, from its description on."""
    app = volant.App("first", image=image)

    @app.function(serialized=True)
    def answer() -> int:
        return 1

    begun = perf_counter()
    with app.run():
        assert answer.remote() == 1
        return (perf_counter() - begun) * 1e3


class Packages:
    """Builds a layer of packages over and over, each time for an image that nobody has seen."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages
        self._layers = Path(config.load().home, "images/layers")
        self._turn = 0
        self._registry = Registry()
        self._registry.__enter__()
        self._registry.add_image(host_base.layer(), tag="base", config=host_base.config())
        self._base = volant.Image.from_registry(f"{self._registry.host}/python:base")
        self.turn()

    def turn(self) -> dict[str, float]:
        """The first call of an image with the packages, less that of one without them."""
        self._turn += 1
        image = self._base.env({"TURN": str(self._turn)})
        without_ms = first_call_ms(image)
        before = set(self._layers.iterdir())
        with_ms = first_call_ms(image.pip_install(*self._packages))
        (layer,) = set(self._layers.iterdir()) - before
        return {"layer_ms": with_ms - without_ms, "own_blocks_mb": _own_blocks(layer) / 1e6}

    def close(self) -> None:
        current.forget()
        self._registry.__exit__()


def _blocks(directory: Path) -> int:
    """Bytes of all files below a directory on disk, each counted once."""
    found = (path.lstat() for path in directory.rglob("*"))
    return 512 * sum({info.st_ino: info.st_blocks for info in found}.values())


def _own_blocks(layer: Path) -> int:
    """Bytes of a layer's files that lie on the disk for it alone."""
    found = (path.lstat() for path in layer.rglob("*"))
    return sum(info.st_blocks * 512 for info in found if info.st_nlink == 1)
