"""A map against a naive hub: results split, repeated, out of order, and the hub lost at any point.

The model is a hub that knows inputs by their index, runs them when it likes and answers with any
run of them; a lost hub forgets everything. Whatever happens, each input must be yielded exactly
once (in order where that was asked for), and what is kept meanwhile must stay bounded.
"""

from __future__ import annotations

import os
from itertools import count
from pickle import dumps as pickled

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from volant.sdk.calls import mapping
from volant.sdk.calls.calling import Binding
from volant.sdk.calls.mapping import CHUNK, WINDOW, MapState, MapWaiter
from volant.wire import frames
from volant.wire.payloads import loads


class FakeChannel:
    """What a map asks of a channel."""

    session = "0123456789abcdef"

    def __init__(self) -> None:
        self._numbers = count(1)

    def next_number(self) -> int:
        return next(self._numbers)


def fd_count() -> int:
    return len(os.listdir("/proc/self/fd"))


class MapMachine(RuleBasedStateMachine):
    """Inputs are numbers; the result of input n is the text of n."""

    @initialize(ordered=st.booleans(), retain=st.booleans())
    def begin(self, ordered: bool, retain: bool) -> None:
        self.fds = fd_count()
        self.state = MapState(
            Binding(FakeChannel(), 7, "f", None),  # type: ignore[arg-type]  # all that is asked
            ordered=ordered, retain=retain,
        )  # fmt: skip
        self.state._pool = None  # each file is made anew, so that descriptors can be counted
        self.waiter = MapWaiter(self.state)
        self.ordered = ordered
        self.retain = retain
        self.next_input = 0
        self.yielded: list[int] = []
        #: The hub's books: runs of inputs of one frame that were not answered yet.
        self.runs: list[list[int]] = []
        self.answered: list[tuple[int, int]] = []
        self.opened = False
        self.last_at: int | None = None

    # -- the connection

    def send(self, due: list[tuple[bytes, int | None]]) -> None:
        for frame, fd in due:
            [(kind, flags, body)] = frames.FrameReader().feed(frame)
            number, first, size, function = frames.HOT.unpack_from(body)
            assert (kind, number, function) == (frames.SUBMIT, self.state.number, 7)
            assert bool(flags & frames.OPEN) == (not self.opened), "the first says that it opens"
            assert bool(flags & frames.RETAIN) == self.retain
            self.opened = True
            items = frames.split_items(body[frames.HOT.size :], size)
            assert bool(flags & frames.HAS_FD) == (fd is not None)
            self._arrive(first, items, fd)
            if flags & frames.LAST:
                self.last_at = first + size

    def _arrive(self, first: int, items: list[tuple[int, bytes]], fd: int | None) -> None:
        for index, (kind, payload) in enumerate(items, first):
            copy = os.dup(fd) if fd is not None else None
            (value, *_), _kwargs = loads(kind, payload, copy)
            assert int(value if copy is None else len(value) - (2 << 20)) == index
            for run in self.runs:
                assert index not in run, "an input was sent twice to one hub"
        if items:
            self.runs.append(list(range(first, first + len(items))))

    def _take(self, first: int, size: int) -> None:
        items = [(frames.PICKLE, pickled(str(index))) for index in range(first, first + size)]
        self.waiter.on_result(0, (1, first, size, 0), frames.items_section(items), None)

    # -- the caller

    @rule(size=st.integers(1, 2 * CHUNK))
    def add(self, size: int) -> None:
        for _ in range(size):
            if not self.state.wants_input():
                return
            self.send(self.state.add((self.next_input,), {}))
            self.next_input += 1

    @precondition(lambda self: self.state.wants_input())
    @rule()
    def add_with_file(self) -> None:
        """An input that travels as a file (its length tells its index)."""
        self.send(self.state.add((bytes((2 << 20) + self.next_input),), {}))
        self.next_input += 1

    @rule()
    def flush(self) -> None:
        self.send(self.state.flush())

    @precondition(lambda self: not self.state.exhausted)
    @rule()
    def finish(self) -> None:
        self.send(self.state.finish_inputs())

    @rule()
    def book(self) -> None:
        self.send(self.waiter.book())

    @rule(most=st.integers(1, 400))
    def consume(self, most: int) -> None:
        for _ in range(most):
            if not self.state.results:
                return
            ok, value = self.state.results.popleft()
            assert ok, value
            self.state.yielded += 1
            self.yielded.append(int(value))

    # -- the hub

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 1 << 20), skip=st.integers(0, 300), size=st.integers(1, 300))
    def answer(self, which: int, skip: int, size: int) -> None:
        """Answer with a part of one run; what is around it stays to be answered."""
        run = self.runs.pop(which % len(self.runs))
        skip = min(skip, len(run) - 1)
        taken, before, after = run[skip : skip + size], run[:skip], run[skip + size :]
        self.runs += [part for part in (before, after) if part]
        self._take(taken[0], len(taken))
        self.answered.append((taken[0], len(taken)))

    @precondition(lambda self: self.answered)
    @rule(which=st.integers(0, 1 << 20))
    def repeat(self, which: int) -> None:
        """A hub may send a result again that was on its way when the connection broke."""
        self._take(*self.answered[which % len(self.answered)])

    @rule(first=st.integers(0, 1 << 31), size=st.integers(1, 50))
    def invent(self, first: int, size: int) -> None:
        """A result for inputs that were never sent."""
        self._take(self.state.sent + first, size)

    @rule()
    def lose_the_hub(self) -> None:
        """A new one is there, and knows nothing."""
        self.runs, self.opened, self.last_at = [], False, None
        assert self.waiter.resubmit() == []
        self.send(self.waiter.book())

    # -- what always holds

    @invariant()
    def nothing_is_yielded_twice(self) -> None:
        if not hasattr(self, "state"):
            return
        assert len(set(self.yielded)) == len(self.yielded)
        if self.ordered:
            assert self.yielded == list(range(len(self.yielded)))

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        if not hasattr(self, "state"):
            return
        state = self.state
        assert state.pulled - state.yielded <= WINDOW
        assert state.pulled == self.next_input == state.sent + len(state._unsent)
        kept = sum(chunk.count for chunk in state._chunks.values())
        assert state.in_flight == sum(chunk.left for chunk in state._chunks.values()) <= kept
        assert state._kept_files <= mapping.WINDOW_FILES
        assert state._kept_files == sum(chunk.fd is not None for chunk in state._chunks.values())
        assert state._kept_bytes == sum(chunk.bytes for chunk in state._chunks.values())
        assert len(state._unsent) < CHUNK
        early = sum(size for size, _, _ in state._early.values())
        assert len(state.results) + early + len(self.yielded) <= self.next_input

    def teardown(self) -> None:
        """Let the hub answer everything: then the map must end, complete."""
        if not hasattr(self, "state"):
            return
        if not self.state.exhausted:
            self.finish()
        self.book()
        assert self.last_at == self.next_input
        while self.runs:
            self.answer(0, 0, 300)
        self.book()
        self.consume(1 << 20)
        assert self.state.finished
        assert self.state.idle
        assert sorted(self.yielded) == list(range(self.next_input))
        self.state.release()
        self.waiter.release()
        assert fd_count() == self.fds, "descriptors were left open"


TestMap = MapMachine.TestCase
TestMap.settings = settings(max_examples=60, stateful_step_count=40)
