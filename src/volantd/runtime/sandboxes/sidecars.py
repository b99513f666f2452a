"""Where sidecars are forked: beside their sandbox, in its network, showing an image of their own.

    image ─► what lies above it is made beside the base's root ─► its layers are mounted in the
             base's view ─► cells of that base may show it, until the base ends

The network of a sandbox belongs to the user namespace of its base, and only who has rights in there
may enter it. So a sidecar is a cell of the same base, whatever its image; that is a matter of
mounts.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volant.runner import isolate
from volant.runner.template import sources
from volant.runner.view import places
from volantd.runtime import tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volantd.runtime.client import Launcher, Zygote
    from volantd.runtime.containers.forked import ForkedContainer

#: Numbers of layers below this one are those of the base's own image.
NUMBER_MIN = 1000
#: In the directory of a zygote: what lies above the images of sidecars.
_DIRECTORY = "beside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Beside whom a container is forked, and what it shows.

    Attributes:
        container: whose network it shares; of the same zygote.
        first, count, cwd: see `isolate.Plan.beside`.
    """

    container: ForkedContainer
    first: int = 0
    count: int = 0
    cwd: str | None = None

    def as_fields(self) -> dict[str, Any]:
        """For the zygote."""
        return {
            "container": self.container.container_id, "first": self.first, "count": self.count,
            "cwd": self.cwd,
        }  # fmt: skip

    @property
    def lower(self) -> str:
        """What lies above an image of its own, from the zygote's directory."""
        return os.path.join(_DIRECTORY, str(self.first))


class Views:
    """Images that zygotes show beside their own; each has numbers of its own there."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._next: dict[str, int] = {}

    async def show(
        self, zygote: Zygote, layers: tuple[str, ...], files: Sequence[tuple[str, int, bytes]]
    ) -> tuple[int, int]:
        """Have containers of a zygote be able to show one more image; its numbers for `Beside`.

        Args:
            zygote: of sandboxes.
            layers: directories of the image, the lowest first, which nobody removes as long as
                the zygote lives.
            files: that come with it: path from where containers work, mode and content each.

        Raises:
            ValueError: it has too many layers.
            OSError: what lies above it cannot be made.
            RuntimeFailedError: they cannot be mounted.
        """
        count = len(layers) + 1
        if count > isolate.BESIDE_LAYERS_MAX:
            raise ValueError(f"an image of {len(layers)} layers is too much for a sidecar")
        zygote_id = zygote.zygote_id
        if zygote_id not in self._next:
            zygote.exited.add_done_callback(lambda _: self._next.pop(zygote_id))
        first = self._next.get(zygote_id, NUMBER_MIN)
        self._next[zygote_id] = first + count
        key = f"{zygote_id} beside {first}"
        self._launcher.layers[key] = layers
        zygote.exited.add_done_callback(lambda _: self._launcher.layers.pop(key))
        lower = await asyncio.to_thread(_make, zygote.state_dir, first, count, files)
        mounts: list[dict[str, Any]] = [
            {"target": f"{places.LAYERS_DIR}/{number}", "layers": [layer], "writable": "",
             "again": False, "is_there": True}
            for number, layer in enumerate((*layers, lower), first)
        ]  # fmt: skip
        await self._launcher.mount(zygote, mounts)
        return first, count


def _make(state_dir: str, first: int, count: int, files: Sequence[tuple[str, int, bytes]]) -> str:
    """Make what lies above an image, and where all of it is to be mounted."""
    for number in range(first, first + count):
        os.makedirs(f"{state_dir}/root{places.LAYERS_DIR}/{number}", 0o755)
    lower = os.path.join(state_dir, _DIRECTORY, str(first))
    os.makedirs(os.path.dirname(lower), 0o755, exist_ok=True)
    tree.build_lower(lower)
    sources.write_files(lower + places.WORK_DIR, list(files))
    return lower
