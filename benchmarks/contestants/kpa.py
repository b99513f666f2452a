"""Knative's pod autoscaler as it is published: how many containers it would have.

Written anew from the description of its modes and settings, and from the order of its rules:

    https://knative.dev/docs/serving/autoscaling/kpa-specific/
    https://knative.dev/docs/serving/autoscaling/concurrency/
    https://github.com/knative/serving/blob/main/pkg/autoscaler/scaling/autoscaler.go
    https://github.com/knative/serving/blob/main/pkg/autoscaler/aggregation/bucketing.go

Every `TICK_S` it looks at the mean number of requests that were in the system, waiting or running,
over the stable window and over the panic window. It wants as many containers as bring that down to
the target. When the panic window asks for twice of what is ready, it panics: it then goes by the
larger of both and never down, until that has not been so for a whole stable window.
"""

from __future__ import annotations

from math import ceil, floor, inf

STABLE_WINDOW_S = 60.0
PANIC_WINDOW_S = 6.0
PANIC_THRESHOLD = 2.0
TARGET_UTILIZATION = 0.7
TICK_S = 2.0
MAX_SCALE_UP_RATE = 1000.0
MAX_SCALE_DOWN_RATE = 2.0
#: Means of the number of requests are reported for each so many seconds.
BUCKET_S = 1.0


class Windows:
    """Mean concurrency of each second, and of the last ones of them."""

    def __init__(self) -> None:
        self._buckets: dict[int, tuple[float, int]] = {}

    def record(self, now: float, concurrency: float) -> None:
        """A report of a second's mean, or of a moment; several for one second are averaged."""
        key = floor(now / BUCKET_S)
        total, count = self._buckets.get(key, (0.0, 0))
        self._buckets[key] = total + concurrency, count + 1
        for old in [key for key in self._buckets if key * BUCKET_S < now - STABLE_WINDOW_S]:
            del self._buckets[old]

    def mean(self, now: float, window_s: float) -> float | None:
        """The mean over the seconds of a window for which there are reports; None: there are none.

        While there are reports for a part of the window only, that part counts.
        """
        found = [
            total / count
            for key, (total, count) in self._buckets.items()
            if key * BUCKET_S >= now - window_s
        ]
        return sum(found) / len(found) if found else None


class Kpa:
    """One revision's autoscaler, for containers that run one request at a time."""

    def __init__(self, containers_max: float = inf) -> None:
        self.windows = Windows()
        self._containers_max = containers_max
        self._panic_at = -inf
        self._panics = False
        self._panic_containers = 0

    def desired(self, now: float, ready: int) -> int | None:
        """How many containers it wants; None: it has no data and leaves things as they are."""
        stable = self.windows.mean(now, STABLE_WINDOW_S)
        panic = self.windows.mean(now, PANIC_WINDOW_S)
        if stable is None:
            return None
        present = max(1, ready)
        most = ceil(MAX_SCALE_UP_RATE * present)
        least = floor(present / MAX_SCALE_DOWN_RATE)
        for_stable = ceil(stable / TARGET_UTILIZATION)
        for_panic = ceil((panic or 0.0) / TARGET_UTILIZATION)
        wanted = min(max(for_stable, least), most)
        wanted_in_panic = min(max(for_panic, least), most)
        if for_panic / present >= PANIC_THRESHOLD:
            self._panics, self._panic_at = True, now
        elif self._panics and self._panic_at + STABLE_WINDOW_S < now:
            self._panics, self._panic_containers = False, 0
        if self._panics:
            self._panic_containers = max(self._panic_containers, wanted, wanted_in_panic)
            wanted = self._panic_containers
        return int(min(wanted, self._containers_max))
