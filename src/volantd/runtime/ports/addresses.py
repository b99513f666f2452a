"""Addresses of loopback for containers: a block of them for each daemon, each given to one.

Other daemons of this machine, of whatever user, have other blocks: whoever holds a block keeps a
socket bound in it, which the kernel lets nobody else do, and which ends with its process.
"""

from __future__ import annotations

import secrets
import socket
from collections import deque

from volant.runner.ports import rules

#: Addresses of a block: what the containers of a daemon have at one time, and many more, so that
#: connections of the one before have ended when an address is given again.
BLOCK_ADDRESSES = 4096
#: The port that is bound at the first address of a block by whoever holds it.
CLAIM_PORT = 29999
BLOCKS_TRIED_MAX = 200

_BLOCKS_PER_FIRST = 65536 // BLOCK_ADDRESSES


class Addresses:
    """A block of addresses."""

    def __init__(self) -> None:
        """Take a block that nobody has.

        Raises:
            OSError: when there is none.
        """
        self._claim, base = _claim_block()
        self._free = deque(_text(base, number) for number in range(1, BLOCK_ADDRESSES))
        #: How many have each that more than one has.
        self._shares: dict[str, int] = {}

    def take(self) -> str:
        """An address that nobody has.

        Raises:
            OSError: when all are in use.
        """
        if not self._free:
            raise OSError(f"all {BLOCK_ADDRESSES} addresses for containers are in use")
        return self._free.popleft()

    def share(self, address: str) -> str:
        """An address that somebody has, for one more; it is given back by each."""
        self._shares[address] = self._shares.get(address, 1) + 1
        return address

    def give_back(self, address: str) -> None:
        """Let others have an address, all others first, once nobody has it."""
        left = self._shares.pop(address, 1) - 1
        if left > 1:
            self._shares[address] = left
        elif not left:
            self._free.append(address)

    def close(self) -> None:
        """Let others have the block."""
        self._claim.close()


def _claim_block() -> tuple[socket.socket, tuple[int, int]]:
    problem: OSError | None = None
    for _ in range(BLOCKS_TRIED_MAX):
        base = (
            rules.FIRST_MIN + secrets.randbelow(rules.FIRST_MAX - rules.FIRST_MIN + 1),
            secrets.randbelow(_BLOCKS_PER_FIRST) * BLOCK_ADDRESSES,
        )
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind((_text(base, 0), CLAIM_PORT))
        except OSError as error:
            claim.close()
            problem = error
        else:
            return claim, base
    raise OSError(f"no block of addresses for containers is free: {problem}")


def _text(base: tuple[int, int], number: int) -> str:
    low = base[1] + number
    return f"127.{base[0]}.{low >> 8}.{low & 255}"
