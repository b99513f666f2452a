"""Finds pools that flap: that give a container up and start it again for what it was there for.

A pool *uses* as many containers as run inputs, and keeps its buffer and what its target asks for in
reserve while there are inputs. It flaps when it starts an n-th container less than a scaledown
window after it stopped one for idleness, although it had used n of them less than a window before
that stop. What is new is no flapping: a peak higher than any within the window wants a container.
"""

from __future__ import annotations

from bisect import bisect_left
from math import ceil
from typing import TYPE_CHECKING

from volantd.core import StartContainer, StopContainer
from volantd.sim.loads.play import INFINITY, LoadRun
from volantd.sim.loads.shapes import draw

if TYPE_CHECKING:
    from volantd.core import Command, Pool

#: No two moments of a clock are closer.
CLOCK_S = 1e-6


def used(pool: Pool) -> int:
    """Containers that a pool has a use for at this moment."""
    config = pool.config
    need = pool.ready - len(pool.idle)
    if pool.queued_inputs or pool.running_inputs:
        if config.target_inputs:
            need = max(need, ceil(pool.running_inputs / config.target_inputs))
        need += config.buffer_containers
    return max(config.min_containers, min(need, config.max_containers))


class Flapping:
    """Watches one play of a load; `found` has a sentence for each case of flapping."""

    def __init__(self) -> None:
        self.found: list[str] = []
        #: Starts of a pool within a window after it stopped a container for idleness: flapping,
        #: and peaks that were higher than all of the window before.
        self.soon = 0
        #: When each pool stopped a container for idleness, and how many that left.
        self._stops: dict[str, list[tuple[float, int]]] = {}
        #: Moments at which the use of a pool has changed, and what it was from then on.
        self._times: dict[str, list[float]] = {}
        self._used: dict[str, list[int]] = {}

    def note(self, run: LoadRun) -> None:
        """Note how many containers are used now; to be called after every event."""
        for pool_id, pool in run.scheduler.state.pools.items():
            now_used = used(pool)
            times = self._times.setdefault(pool_id, [])
            levels = self._used.setdefault(pool_id, [])
            if not levels or levels[-1] != now_used:
                times.append(run.now)
                levels.append(now_used)

    def watch(self, run: LoadRun, command: Command) -> None:
        """Note what the core commands."""
        match command:
            case StopContainer(container_id, _, "idle"):
                pool_id = run.lives[container_id].pool_id
                self._stops.setdefault(pool_id, []).append((run.now, _live(run, pool_id)))
            case StartContainer(pool_id):
                self._started(run, pool_id)
            case _:
                pass

    def _started(self, run: LoadRun, pool_id: str) -> None:
        pool = run.scheduler.state.pools[pool_id]
        window_s = pool.config.scaledown_window_s
        live = _live(run, pool_id)
        stops = [
            at for at, left in self._stops.get(pool_id, [])
            if at > run.now - window_s and left < live
        ]  # fmt: skip
        self.soon += bool(stops)
        for at in stops:
            peak = self._peak(pool_id, at - window_s + CLOCK_S, at)
            if peak >= live:
                self.found.append(
                    f"{pool_id}: container {live} is started at {run.now:.3f}; one was "
                    f"stopped at {at:.3f}, and {peak} were used in the {window_s:g} s before"
                )

    def _peak(self, pool_id: str, begin: float, end: float) -> int:
        """The highest use in an open interval."""
        times, levels = self._times.get(pool_id, []), self._used.get(pool_id, [])
        first = max(bisect_left(times, begin) - 1, 0)
        if first + 1 < len(times) and times[first + 1] <= begin:
            first += 1
        return max(
            (levels[at] for at in range(first, len(times)) if times[at] < end
             and (at + 1 == len(times) or times[at + 1] > begin)),
            default=0,
        )  # fmt: skip


def _live(run: LoadRun, pool_id: str) -> int:
    """Containers of a pool as of the command that is carried out: later ones are not there yet."""
    return sum(
        run.lives[container_id].stopped_at == INFINITY
        for container_id in run.scheduler.state.pools[pool_id].containers
        if container_id in run.lives
    )


def watched(seed: int, *, check: bool = False) -> tuple[LoadRun, Flapping]:
    """The load of a seed to its end, watched; `check`: all that the core promises, too."""
    drawn, flapping = draw(seed), Flapping()

    def after(run: LoadRun) -> None:
        flapping.note(run)
        if check:
            run.scheduler.check_invariants()

    run = LoadRun(
        {"p": drawn.config}, drawn.arrivals, lambda: drawn.start_s, watch=flapping.watch,
        after=after,
    )  # fmt: skip
    return run.play(drawn.until), flapping
