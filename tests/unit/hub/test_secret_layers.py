"""Layers of secrets: checked, and the same whenever they mean the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from volantd.hub.secrets import layers

NAMES = st.sampled_from("ABC")
VALUES = st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=3)
REFERENCES = st.sampled_from(["x", "y"]).map(
    lambda name: {"name": name, "environment": None, "keys": []}
)
LAYERS = st.lists(st.one_of(REFERENCES, VALUES.map(lambda values: {"values": values})), max_size=5)
STORED = {"x": {"A": "x", "B": "x"}, "y": {"B": "y", "C": "y"}}


def _meant(stored: list[dict[str, Any]], values: dict[str, str]) -> dict[str, str]:
    told: dict[str, str] = {}
    for layer in stored:
        told |= layer["values"] if "values" in layer else STORED[layer["name"]]
    return told | values


@given(base=LAYERS, values=VALUES, added=LAYERS, changes=VALUES)
def test_what_is_merged_means_what_is_behind_each_other(
    base: list[Any], values: dict[str, str], added: list[Any], changes: dict[str, str]
) -> None:
    whole = {"stored": base, "secrets": values}
    stored, last = layers.merged(whole, {"stored": added, "secrets": changes})
    expected = _meant([*base, {"values": values}, *added], changes)
    assert _meant(stored, last) == expected
    # Whoever knows the function sends what it has as well; that is the same pool.
    again = {"stored": [*base, {"values": values}, *added], "secrets": changes}
    assert _meant(*layers.merged(whole, again)) == expected


@given(base=LAYERS.filter(bool), values=VALUES, changes=VALUES)
def test_who_repeats_what_was_there_gets_the_same_pool(
    base: list[Any], values: dict[str, str], changes: dict[str, str]
) -> None:
    whole = {"stored": base, "secrets": values}
    short = layers.merged(whole, {"secrets": changes})
    long = layers.merged(whole, {"stored": base, "secrets": {**values, **changes}})
    assert short == long


@pytest.mark.parametrize(
    "wrong",
    [
        7, [7], [{}], [{"values": 7}], [{"values": {"A": 7}}], [{"name": ""}],
        [{"name": "x" * 65, "environment": None, "keys": []}], [{"name": "x", "keys": []}],
        [{"name": "x", "environment": 7, "keys": []}],
        [{"name": "x", "environment": None, "keys": 7}],
        [{"name": "x", "environment": None, "keys": [7]}],
        [{"values": {}}] * (layers.LAYERS_MAX + 1),
    ],
)  # fmt: skip
def test_what_are_no_layers_is_refused(wrong: Any) -> None:
    with pytest.raises((ValueError, KeyError)):
        layers.check({"stored": wrong})
