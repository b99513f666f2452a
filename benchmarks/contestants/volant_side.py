"""Volant's client as a contestant: an app that runs, and the calls that are timed."""

from __future__ import annotations

import time
from contextlib import ExitStack
from time import monotonic_ns, perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.contestants.timing import time_arrays, time_calls, time_map
from volant.channel import current

if TYPE_CHECKING:
    from volant import App

_POLL_S = 0.005
_GONE_WITHIN_S = 30.0


def request(op: str, **fields: object) -> dict[str, Any]:
    """Ask the daemon something."""
    return current.channel().request(op, **fields)


class Running:
    """An app that runs while the contestant lives."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._stack = ExitStack()
        self._stack.enter_context(app.run())

    def close(self) -> None:
        self._stack.close()
        current.forget()

    def containers(self) -> list[dict[str, Any]]:
        rows = request("container_list")["containers"]
        return [row for row in rows if row["app_id"] == self.app.app_id]

    def wait_for_zero(self, settle_s: float) -> None:
        """Wait until no container of the app is left, and a moment for what follows an end."""
        deadline = time.monotonic() + _GONE_WITHIN_S
        while self.containers():
            if time.monotonic() > deadline:
                raise TimeoutError("containers that should leave stay")
            time.sleep(_POLL_S)
        time.sleep(settle_s)


class Status:
    """Tells what the daemon is."""

    def turn(self) -> dict[str, Any]:
        while (status := request("server_status"))["rung"] == "starting":
            time.sleep(_POLL_S)
        return status

    def close(self) -> None:
        current.forget()


class Calls(Running):
    """Warm calls, one after the other."""

    def __init__(self) -> None:
        from benchmarks.apps.noop import app, noop

        super().__init__(app)
        self._noop = noop
        self.turn(200)

    def turn(self, count: int) -> dict[str, float]:
        return time_calls(self._noop.remote, count)


class Maps(Running):
    """Ordered maps of no-ops, their results taken one by one."""

    def __init__(self) -> None:
        from benchmarks.apps.noop import app, noop

        super().__init__(app)
        self._noop = noop
        self.turn(20_000)

    def turn(self, count: int) -> dict[str, float]:
        return time_map(lambda: self._noop.map(range(count)))


class Arrays(Running):
    """An array as argument and result."""

    def __init__(self, size_bytes: int) -> None:
        import numpy as np

        from benchmarks.apps.arrays import app, echo

        super().__init__(app)
        self._echo = echo
        self._array = np.arange(size_bytes // 8, dtype=np.float64)

    def turn(self, count: int) -> dict[str, list[float]]:
        return time_arrays(lambda: self._echo.remote(self._array), self._array, count)


class Cold(Running):
    """Calls that find no container."""

    def __init__(self, settle_s: float = 0.2) -> None:
        from benchmarks.apps.cold import app, first_line

        super().__init__(app)
        self._first_line = first_line
        self._settle_s = settle_s
        self._record_count = 0
        self.turn()

    def turn(self) -> dict[str, float]:
        self.wait_for_zero(self._settle_s)
        begun_ns = monotonic_ns()
        first_line_ns, _ = self._first_line.remote()
        ended_ns = monotonic_ns()
        phases = self._record()
        assert phases["wanted_ns"], "a container was there already"
        return {
            "result_ms": (ended_ns - begun_ns) / 1e6,
            "first_line_ms": (first_line_ns - begun_ns) / 1e6,
            "fork_ms": (first_line_ns - phases["wanted_ns"]) / 1e6,
        }

    def _record(self) -> dict[str, int]:
        """What the hub recorded of the call: the result may be here before the hub knows of it."""
        self._record_count += 1
        deadline = time.monotonic() + _GONE_WITHIN_S
        while True:
            records = request("app_timings", app_id=self.app.app_id)["calls"]
            if len(records) >= self._record_count:
                return records[-1]
            if time.monotonic() > deadline:
                raise TimeoutError("the hub has no record of a call")
            time.sleep(_POLL_S)


class Burst(Running):
    """Many containers from zero at once."""

    def __init__(self, count: int) -> None:
        from benchmarks.apps.burst import app, stand

        self._count = count
        self._stand = stand
        super().__init__(app)
        stand.remote(0.0)  # the zygote is there; this run's knowledge of run times goes with it
        self.wait_for_zero(0.0)
        self.close()

    def turn(self, duration_s: float) -> dict[str, Any]:
        with self.app.run():
            time.sleep(0.3)
            begun_ns = monotonic_ns()
            results = list(self._stand.map([duration_s] * self._count))
            calls = request("app_timings", app_id=self.app.app_id)["calls"]
            self.wait_for_zero(0.0)
        return {
            "begun_ns": begun_ns,
            "intervals": [(begin, end) for begin, end, _ in results],
            "containers": len({container for _, _, container in results}),
            "imported_ns": [call["imported_ns"] for call in calls],
        }


class Cycles(Running):
    """A container for each input."""

    def __init__(self) -> None:
        from benchmarks.apps.cycles import app, once

        super().__init__(app)
        self._once = once

    def turn(self, count: int) -> dict[str, float]:
        begun = perf_counter()
        containers = set(self._once.map(range(count)))
        elapsed_s = perf_counter() - begun
        self.wait_for_zero(0.0)
        return {"rate": count / elapsed_s, "containers": len(containers)}
