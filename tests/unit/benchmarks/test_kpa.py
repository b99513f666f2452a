"""What Knative's autoscaler does by its own account, and that both play the same load."""

from __future__ import annotations

from benchmarks.contestants.kpa import Kpa
from benchmarks.contestants.scaled import KpaRun, play_volant
from volantd.core import PoolConfig
from volantd.sim.loads.play import Arrival


def _kpa(*seconds: float) -> Kpa:
    """One that was told the mean of each second, from 0 on."""
    kpa = Kpa()
    for number, concurrency in enumerate(seconds):
        kpa.windows.record(number + 0.5, concurrency)
    return kpa


def test_it_has_no_opinion_without_data() -> None:
    assert Kpa().desired(10.0, 0) is None


def test_it_wants_what_brings_the_mean_of_the_stable_window_to_the_target() -> None:
    assert _kpa(*[7.0] * 60).desired(60.0, 10) == 10
    assert _kpa(*[7.0] * 3).desired(3.0, 10) == 10, "of a part of the window"


def test_it_panics_at_twice_of_what_is_ready_and_then_only_grows() -> None:
    kpa = _kpa(*[0.7] * 54, *[14.0] * 6)
    assert kpa.desired(60.0, 1) == 20
    for second in range(60, 110):
        kpa.windows.record(second + 0.5, 0.7)
    assert kpa.desired(110.0, 20) == 20, "the panic lasts for a stable window"
    assert kpa.desired(121.0, 20) == 10, "it gives up half of them at most"


def test_it_does_not_panic_below_the_threshold() -> None:
    assert _kpa(*[7.0] * 54, *[13.0] * 6).desired(60.0, 10) == 11


def test_it_lets_the_last_one_go_after_a_stable_window_without_requests() -> None:
    assert _kpa(*[0.0] * 60).desired(60.0, 1) == 0


def test_both_serve_all_of_a_load_and_count_what_it_costs() -> None:
    arrivals = [Arrival(number * 0.1, "p", 0.05) for number in range(100)]
    ours = play_volant(arrivals, 0.2, 100.0, PoolConfig(scaledown_window_s=60.0))
    kpa = KpaRun(arrivals, 0.2, 10).play(100.0)
    assert len(ours.latencies_s) == len(kpa.latencies_s) == 100
    assert min(*ours.latencies_s, *kpa.latencies_s) > 0.049
    assert ours.container_seconds > 60.0
    assert kpa.container_seconds > 60.0
