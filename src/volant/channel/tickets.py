"""Tickets: what this client marks its changes with, so that the hub makes each of them once.

A ticket is the client's id, a line, and a number. On one line one change is made after the other;
who makes another one meanwhile takes another line. So the hub keeps one answer for each line.
"""

from __future__ import annotations

from _thread import allocate_lock

from volant import ids


class Tickets:
    """The lines of one channel, on which changes are made by any of its threads."""

    __slots__ = ("_free", "_lines", "_lock", "client")

    def __init__(self) -> None:
        #: An id that lasts as long as the channel, whatever connections it has.
        self.client = ids.new_session()
        self._lock = allocate_lock()
        self._free: list[tuple[int, int]] = []
        self._lines = 0

    def take(self) -> tuple[int, int]:
        """A line that nobody uses, and the next number on it."""
        with self._lock:
            if self._free:
                line, number = self._free.pop()
                return line, number + 1
            self._lines += 1
            return self._lines - 1, 1

    def give_back(self, ticket: tuple[int, int]) -> None:
        """Let others make changes on a line."""
        with self._lock:
            self._free.append(ticket)
