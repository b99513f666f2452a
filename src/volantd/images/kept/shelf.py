"""What goes when the store of images is full: whole images, from the end of their chains.

    base ── step ── step ── image A      A goes before the steps that only A has, these before the
               └─── step ── image B      base; what B has stays for as long as B does

Pure: the store says what there is, this says what may go and in which order. What is protected
(it runs, is being built, has a name) is never named, nor is anything that it is built on.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One image up to some step, as far as it matters here.

    Attributes:
        parent: the key of the step before; None for a base.
        layers: ids of all its layers.
        used_at: when it was used last.
        is_protected: whether it has to stay.
    """

    parent: str | None
    layers: tuple[str, ...]
    used_at: float
    is_protected: bool = False


def to_remove(
    images: Mapping[str, Kept],
    sizes: Mapping[str, int],
    *,
    excess_bytes: float,
    before: float = float("inf"),
) -> list[str]:
    """The keys of what has to go, in the order in which it should.

    The ends of chains go, least recently used first; a step that nothing is built on any more
    counts as used when the last image on it was.

    Args:
        images: all there are, by key.
        sizes: bytes of each layer.
        excess_bytes: how much has to become free; no image goes that is not needed for it.
        before: only what was last used before this time goes.
    """
    children = Counter(image.parent for image in images.values())
    holders = Counter(layer for image in images.values() for layer in image.layers)
    ends = [
        (image.used_at, key)
        for key, image in images.items()
        if not children[key] and not image.is_protected
    ]
    heapq.heapify(ends)
    removed: list[str] = []
    while ends and excess_bytes > 0:
        used_at, key = heapq.heappop(ends)
        if used_at >= before:
            break
        image = images[key]
        removed.append(key)
        for layer in image.layers:
            holders[layer] -= 1
            if not holders[layer]:
                excess_bytes -= sizes.get(layer, 0)
        parent = image.parent
        if parent is not None and parent in images:
            children[parent] -= 1
            if not children[parent] and not images[parent].is_protected:
                heapq.heappush(ends, (max(used_at, images[parent].used_at), parent))
    return removed


def shares(
    images: Mapping[str, Iterable[str]], sizes: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Of each image the bytes of the layers that only it has, and of those that others have too.

    Args:
        images: layers of those that count, by key.
        sizes: bytes of each layer.
    """
    layers_of = {key: set(layers) for key, layers in images.items()}
    holders = Counter(layer for layers in layers_of.values() for layer in layers)
    found = {}
    for key, layers in layers_of.items():
        own = sum(sizes.get(layer, 0) for layer in layers if holders[layer] == 1)
        found[key] = own, sum(sizes.get(layer, 0) for layer in layers) - own
    return found
