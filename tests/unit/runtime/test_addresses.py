"""Blocks of addresses for containers."""

from __future__ import annotations

import socket

import pytest

from volant.runner.ports import rules
from volantd.runtime.ports import addresses
from volantd.runtime.ports.addresses import Addresses


def test_an_address_is_given_once_and_again_last_of_all() -> None:
    block = Addresses()
    try:
        taken = [block.take() for _ in range(addresses.BLOCK_ADDRESSES - 1)]
        assert len(set(taken)) == len(taken)
        with pytest.raises(OSError, match="in use"):
            block.take()
        block.give_back(taken[7])
        assert block.take() == taken[7]
    finally:
        block.close()


def test_every_address_is_one_that_a_container_can_have() -> None:
    block = Addresses()
    try:
        for _ in range(addresses.BLOCK_ADDRESSES - 1):
            rules.OwnPorts(block.take())
    finally:
        block.close()


def test_daemons_have_different_blocks() -> None:
    blocks = [Addresses() for _ in range(20)]
    first = {block.take() for block in blocks}
    for block in blocks:
        block.close()
    assert len(first) == 20


def test_a_block_is_held_by_the_kernel() -> None:
    block = Addresses()
    claimed = block.take().rpartition(".")[0] + ".0"
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((claimed, addresses.CLAIM_PORT))
    block.close()
    with socket.socket() as other:
        other.bind((claimed, addresses.CLAIM_PORT))


def test_an_address_that_is_shared_is_given_back_by_each() -> None:
    block = Addresses()
    try:
        own = block.take()
        assert block.share(own) == block.share(own) == own
        block.give_back(own)
        block.give_back(own)
        others = [block.take() for _ in range(addresses.BLOCK_ADDRESSES - 2)]
        assert own not in others
        with pytest.raises(OSError, match="in use"):
            block.take()
        block.give_back(own)
        assert block.take() == own
    finally:
        block.close()
