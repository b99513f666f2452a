"""The arithmetic of containers and portions."""

from __future__ import annotations

import pytest

from volantd.core.autoscale import desired_containers, next_estimate_s, portion


def _desired(**changes):
    arguments = {
        "queued": 0,
        "running": 0,
        "estimate_s": None,
        "stalled": 0,
        "containers_min": 0,
        "containers_max": 100,
        "buffer": 0,
        "single_use": False,
        "backlog_per_container_s": 0.05,
    }
    return desired_containers(**(arguments | changes))


@pytest.mark.parametrize(
    ("changes", "desired"),
    [
        ({}, 0),
        ({"containers_min": 3}, 3),
        ({"buffer": 3}, 0),
        ({"queued": 5, "running": 2}, 7),
        ({"queued": 5, "buffer": 3}, 8),
        ({"queued": 500}, 100),
        ({"queued": 500, "estimate_s": 1e-5}, 2),
        ({"queued": 500, "estimate_s": 1e-5, "stalled": 3}, 5),
        ({"queued": 500, "estimate_s": 1e-3}, 11),
        ({"queued": 5, "estimate_s": 1.0}, 5),
        ({"queued": 50, "estimate_s": 1e-5, "single_use": True}, 50),
    ],
)
def test_desired_containers(changes, desired):
    assert _desired(**changes) == desired


@pytest.mark.parametrize(
    ("count", "estimate_s", "takers", "size"),
    [
        (100, None, 5, 1),
        (100, 1e-5, 5, 100),
        (100, 1e-4, 5, 20),
        (100, 1e-4, 1, 100),
        (100, 1e-3, 1, 20),
        (100, 1e-3, 10, 10),
        (100, 1e-3, 2, 20),
        (100, 1.0, 5, 1),
        (1, 1.0, 5, 1),
    ],
)
def test_portion(count, estimate_s, takers, size):
    arguments = {"share_above_s": 0.005, "batch_s_max": 0.02}
    assert portion(count=count, estimate_s=estimate_s, takers=takers, **arguments) == size


def test_estimates_follow_what_is_observed():
    assert next_estimate_s(None, 500, 5) == pytest.approx(1e-4)
    assert next_estimate_s(1e-4, 600, 1) == pytest.approx(2e-4)
    assert next_estimate_s(None, 0, 5) == 1e-6
