"""Eviction: never what is in use, least recently used first, no more than needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, strategies as st

from volantd.images.kept.shelf import Kept, shares, to_remove

if TYPE_CHECKING:
    from collections.abc import Callable

Shelf = tuple[dict[str, Kept], dict[str, int]]


@st.composite
def shelves(draw: Callable[..., int]) -> Shelf:
    """Chains that share their beginnings, some steps without a layer, some images protected."""
    images: dict[str, Kept] = {}
    sizes: dict[str, int] = {}
    for number in range(draw(st.integers(0, 14))):
        key = f"k{number}"
        parent = draw(st.sampled_from([None, *images]))
        layers = images[parent].layers if parent is not None else ()
        if draw(st.booleans()):
            layers = (*layers, f"l{number}")
            sizes[f"l{number}"] = draw(st.integers(0, 100))
        images[key] = Kept(
            parent=parent, layers=layers, used_at=draw(st.integers(0, 9)),
            is_protected=draw(st.integers(0, 4)) == 0,
        )  # fmt: skip
    return images, sizes


def taken(images: dict[str, Kept], sizes: dict[str, int]) -> int:
    return sum(sizes[layer] for layer in {one for kept in images.values() for one in kept.layers})


def below(images: dict[str, Kept], key: str) -> set[str]:
    found, at = set(), images[key].parent
    while at is not None and at in images:
        found.add(at)
        at = images[at].parent
    return found


@given(shelves(), st.integers(-10, 400), st.integers(0, 12))
def test_nothing_in_use_goes_nor_what_it_is_built_on(
    shelf: Shelf, excess: int, before: int
) -> None:
    images, sizes = shelf
    removed = to_remove(images, sizes, excess_bytes=excess, before=before)
    assert len(set(removed)) == len(removed)
    for key, image in images.items():
        if image.is_protected:
            assert not {key, *below(images, key)} & set(removed)
    left = set(images)
    for key in removed:  # whole images, from the end of the chain
        left.remove(key)
        assert not [one for one in left if images[one].parent == key]
        assert images[key].used_at < before


@given(shelves(), st.integers(1, 400))
def test_as_much_goes_as_is_needed_and_no_more(shelf: Shelf, excess: int) -> None:
    images, sizes = shelf
    removed = to_remove(images, sizes, excess_bytes=excess)
    whole = taken(images, sizes)

    def freed(count: int) -> int:
        rest = {key: image for key, image in images.items() if key not in removed[:count]}
        return whole - taken(rest, sizes)

    if removed:
        assert freed(len(removed) - 1) < excess, "the last one was needed"
    if freed(len(removed)) < excess:
        needed = {key for key, image in images.items() if image.is_protected}
        needed |= {one for key in needed for one in below(images, key)}
        assert set(images) - set(removed) == needed, "nothing else could go"


@given(shelves())
def test_the_least_recently_used_end_goes_first(shelf: Shelf) -> None:
    images, sizes = shelf
    removed = to_remove(images, sizes, excess_bytes=float("inf"))
    left = dict(images)
    used = {key: image.used_at for key, image in images.items()}
    for key in removed:
        parents = {image.parent for image in left.values()}
        ends = [one for one in left if one not in parents and not left[one].is_protected]
        assert used[key] == min(used[one] for one in ends)
        parent = left.pop(key).parent
        if parent is not None:
            used[parent] = max(used[parent], used[key])


@given(shelves())
def test_sizes_add_up(shelf: Shelf) -> None:
    """What is an image's own becomes free with it; all together is what all layers take."""
    images, sizes = shelf
    found = shares({key: image.layers for key, image in images.items()}, sizes)
    for key, (own, shared) in found.items():
        assert own + shared == sum(sizes[layer] for layer in images[key].layers)
        rest = {other: image for other, image in images.items() if other != key}
        assert own == taken(images, sizes) - taken(rest, sizes)
