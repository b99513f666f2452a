"""A Ray driver with a cluster of its own, two CPUs, as a contestant.

Dashboard, usage reports and token checks are off, because they would only slow it down.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import ray

from benchmarks.contestants.timing import time_arrays, time_calls, time_map

#: Room for several arrays that are under way; Ray's default depends on the machine.
_OBJECT_STORE_BYTES = 2 << 30


@ray.remote
def noop(value: object = None) -> None:
    pass


@ray.remote
class Actor:
    def noop(self) -> None:
        pass

    def echo(self, array: np.ndarray) -> np.ndarray:
        return array


class Driver:
    """One cluster for all that Ray is measured in; its actor and its workers are warm."""

    def __init__(self, directory: str) -> None:
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=directory,
            object_store_memory=_OBJECT_STORE_BYTES, configure_logging=False,
        )  # fmt: skip
        self._actor = Actor.remote()
        self._array = np.zeros(0)
        self.turn("calls", 200)
        self.turn("maps", 500)

    def turn(self, what: str, count: int, size_bytes: int = 0) -> dict[str, Any]:
        """Take a turn in `calls`, `maps` or `arrays`."""
        get = ray.get
        if what == "calls":
            remote = self._actor.noop.remote
            return time_calls(lambda: get(remote()), count)
        if what == "maps":
            return time_map(lambda: get([noop.remote(number) for number in range(count)]))
        if self._array.nbytes != size_bytes:
            self._array = np.arange(size_bytes // 8, dtype=np.float64)
        echo = self._actor.echo.remote
        return time_arrays(lambda: get(echo(self._array)), self._array, count)

    def close(self) -> None:
        ray.shutdown()
