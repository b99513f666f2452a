"""A Ray driver with a cluster of its own, two CPUs, as a contestant.

Dashboard, usage reports and token checks are off, because they would only slow it down.
"""

from __future__ import annotations

from time import perf_counter, perf_counter_ns

import numpy as np
import ray

from benchmarks.contestants.volant_side import time_arrays
from benchmarks.harness.figures import percentile

#: Room for several arrays that are under way; Ray's default depends on the machine.
_OBJECT_STORE_BYTES = 2 << 30


@ray.remote
def noop(value: object = None) -> None:
    pass


@ray.remote(num_cpus=1)
class Actor:
    def noop(self) -> None:
        pass

    def echo(self, array: np.ndarray) -> np.ndarray:
        return array


class _Cluster:
    def __init__(self, directory: str) -> None:
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=directory,
            object_store_memory=_OBJECT_STORE_BYTES, configure_logging=False,
        )  # fmt: skip

    def close(self) -> None:
        ray.shutdown()


class Calls(_Cluster):
    """Actor calls, one after the other."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self._actor = Actor.remote()
        self.turn(200)

    def turn(self, count: int) -> dict[str, float]:
        remote, get = self._actor.noop.remote, ray.get
        taken_ns = []
        for _ in range(count):
            begun = perf_counter_ns()
            get(remote())
            taken_ns.append(perf_counter_ns() - begun)
        return {"p50_us": percentile(taken_ns, 0.5) / 1e3, "p90_us": percentile(taken_ns, 0.9) / 1e3}


class Maps(_Cluster):
    """Tasks submitted at once, results in order."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.turn(1_000)

    def turn(self, count: int) -> dict[str, float]:
        begun = perf_counter()
        arrived = len(ray.get([noop.remote(number) for number in range(count)]))
        return {"rate": arrived / (perf_counter() - begun), "arrived": arrived}


class Arrays(_Cluster):
    """An array put by argument, and taken from the result."""

    def __init__(self, directory: str, size_bytes: int) -> None:
        super().__init__(directory)
        self._actor = Actor.remote()
        self._array = np.arange(size_bytes // 8, dtype=np.float64)

    def turn(self, count: int) -> dict[str, list[float]]:
        echo = self._actor.echo.remote
        return time_arrays(lambda: ray.get(echo(self._array)), self._array, count)
