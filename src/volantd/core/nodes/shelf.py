"""Machines in order of their free memory, found without looking at more than a few of them.

A shelf has a bucket for each power of two, and the numbers of those that are not empty as the bits
of one integer; within a bucket the keys are sorted. So the machine that fits best, and the one
that has most, are found by a few operations on bits and one bisection, however many there are.

    bucket   0   1   2  ...  34                  35
    keys                     [17 GiB, 30 GiB]    [40 GiB]        occupied: bits 34 and 35
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Memory without a limit, and the most that any has.
BYTES_MAX = 1 << 62
#: A key is free bytes, and below them the number of the machine.
ORDER_BITS = 32
ORDER_MASK = (1 << ORDER_BITS) - 1


def key_of(free_bytes: float, order: int) -> int:
    """The key of a machine."""
    return int(min(free_bytes, BYTES_MAX)) << ORDER_BITS | order


def bucket_of(bytes_min: int) -> int:
    """The first bucket in which a machine may have so much free memory."""
    return min(bytes_min, BYTES_MAX).bit_length()


class Shelf:
    """Some machines by their free memory."""

    __slots__ = ("_buckets", "occupied")

    def __init__(self) -> None:
        self._buckets: list[list[int]] = [[] for _ in range(BYTES_MAX.bit_length() + 1)]
        #: Shifted by ``bucket_of`` it is 0 if no machine here has so much.
        self.occupied = 0

    def add(self, key: int) -> None:
        """Files a key."""
        number = (key >> ORDER_BITS).bit_length()
        insort(self._buckets[number], key)
        self.occupied |= 1 << number

    def remove(self, key: int) -> None:
        """Takes a key out that was filed."""
        number = (key >> ORDER_BITS).bit_length()
        bucket = self._buckets[number]
        position = bisect_left(bucket, key)
        assert bucket[position] == key, key
        del bucket[position]
        if not bucket:
            self.occupied ^= 1 << number

    def tightest(self, bytes_min: int) -> Iterator[int]:
        """The machines with so much free memory, by number, those with the least first."""
        number = bucket_of(bytes_min)
        start = bytes_min << ORDER_BITS
        above = self.occupied >> number << number
        while above:
            lowest = above & -above
            bucket = self._buckets[lowest.bit_length() - 1]
            for position in range(bisect_left(bucket, start), len(bucket)):
                yield bucket[position] & ORDER_MASK
            above ^= lowest

    def emptiest(self, bytes_min: int) -> Iterator[int]:
        """The same, those with the most first."""
        start = bytes_min << ORDER_BITS
        left = self.occupied
        while left:
            number = left.bit_length() - 1
            for key in reversed(self._buckets[number]):
                if key < start:
                    return
                yield key & ORDER_MASK
            left ^= 1 << number
