"""Sealed values: whatever they are, they open at their place and nowhere else, or not at all."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import given, strategies as st

from volant.errors import DataLossError
from volantd.sealing.keyring import Keyring, new_key
from volantd.sealing.sealer import (
    MARK,
    SealBrokenError,
    Sealer,
    key_id_of,
    place_of,
    sealed_with,
)

PLACES = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
VALUES = st.binary(max_size=2000)


@pytest.fixture(scope="module")
def sealer():
    with tempfile.TemporaryDirectory() as directory:
        yield Sealer(Keyring(directory))


@given(place=PLACES, value=VALUES)
def test_what_is_sealed_opens_at_its_place(sealer: Sealer, place: str, value: bytes):
    sealed = sealer.seal(place, value)
    assert sealer.open(place, sealed) == value
    assert sealed != sealer.seal(place, value)
    assert key_id_of(sealed) == sealer.keyring.current().key_id
    if len(value) > 8:
        assert value not in sealed


@given(place=PLACES, other=PLACES, value=VALUES)
def test_it_does_not_open_elsewhere(sealer: Sealer, place: str, other: str, value: bytes):
    if place != other:
        with pytest.raises(SealBrokenError, match="was not sealed for it"):
            sealer.open(other, sealer.seal(place, value))


@given(value=VALUES, data=st.data())
def test_no_bit_of_it_can_be_changed(sealer: Sealer, value: bytes, data: st.DataObject):
    sealed = bytearray(sealer.seal("here", value))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((SealBrokenError, DataLossError)):  # the latter for the id of its key
        sealer.open("here", bytes(sealed))


@given(value=VALUES, data=st.data())
def test_no_part_of_it_opens(sealer: Sealer, value: bytes, data: st.DataObject):
    sealed = sealer.seal("here", value)
    size = data.draw(st.integers(0, len(sealed) - 1))
    with pytest.raises(SealBrokenError):
        sealer.open("here", sealed[:size])
    with pytest.raises(SealBrokenError):
        sealer.open("here", sealed + b"\0" * (1 + size % 7))


@given(value=st.binary(max_size=200))
def test_what_is_in_clear_is_never_taken_for_sealed(sealer: Sealer, value: bytes):
    if not value.startswith(MARK):
        with pytest.raises(SealBrokenError, match="is not sealed"):
            sealer.open("here", value)


@given(value=VALUES)
def test_two_keys_do_not_open_what_the_other_has_sealed(sealer: Sealer, value: bytes):
    before = sealer.keyring.current()
    sealed = sealed_with(before, "here", value)
    forged = sealed_with(new_key(), "here", value)
    renamed = forged[: len(MARK)] + bytes.fromhex(before.key_id) + forged[len(MARK) + 8 :]
    assert sealer.open("here", sealed) == value
    with pytest.raises(SealBrokenError):
        sealer.open("here", renamed)


def test_a_place_is_a_column_and_a_row():
    assert place_of("versions.description", "ap-1", 3) == "versions.description/ap-1/3"
