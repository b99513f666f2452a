"""Which orders of a zygote a nursery takes."""

from __future__ import annotations

import pytest

from volant.runner import nursery


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
