"""Which orders of a zygote a nursery takes."""

from __future__ import annotations

import pytest

from volant.runner import isolate, nursery
from volant.runner.view import places


@pytest.mark.parametrize("name", ["s1", "s0", "s999999999"])
def test_a_cell_is_called_by_a_letter_and_a_number(name: str) -> None:
    assert nursery.is_cell_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "s", "1", "x1", "s1234567890", "s-1", "s1 ", "s1\n", "s\u0661", "s\u00b2", "s/../..",
     "../x", "s1/x", "\ufffd"],
)  # fmt: skip
def test_nothing_else_is_a_name(name: str) -> None:
    assert not nursery.is_cell_name(name)


def plan(flags: str) -> isolate.Plan:
    return isolate.Plan(["container", "-", flags, "b:/usr", "l:/layers/1", "l:/layers/0"])


def test_a_sidecar_shows_the_same_image_or_another_one() -> None:
    own = plan("ns")
    same = own.beside(0, 0)
    assert (same.layers, same.trees, same.lower) == (own.layers, own.trees, own.lower)
    other = own.beside(1000, 3, "/work")
    wanted = [f"{places.LAYERS_DIR}/{number}" for number in (1002, 1001, 1000)]
    assert ([other.lower, *other.layers], other.trees, other.cwd) == (wanted, [], "/work")
    assert own.beside(1000, 2).cwd == places.WORK_DIR
    assert own.layers == ["/layers/1", "/layers/0"], "the others are as they were"


def test_a_blank_one_is_shown_an_image_or_what_lies_over_the_machine() -> None:
    layers = [f"{places.LAYERS_DIR}/{number}" for number in (1, 0)]
    of_image = isolate.Plan(["container", "-", "sb"])
    assert of_image.work_dir == places.FILES_DIR
    of_image.show(2)
    assert (of_image.layers, of_image.changes) == (layers, [])
    over = isolate.Plan(["container", "-", "sbo", "o:/usr"])
    assert over.work_dir == places.WORK_DIR
    over.show(2)
    assert (over.layers, over.changes, over.trees) == ([], layers, ["/usr"])


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, -1), (0, isolate.BESIDE_LAYERS_MAX + 1)])
def test_what_can_be_no_sidecar_is_refused(first: int, count: int) -> None:
    with pytest.raises(ValueError, match="no such sidecar"):
        plan("ns").beside(first, count)


def test_where_code_of_others_runs_there_are_no_sidecars() -> None:
    """Their zygote could ask for a cell in the network of any other."""
    with pytest.raises(ValueError, match="no such sidecar"):
        plan("n").beside(0, 0)
