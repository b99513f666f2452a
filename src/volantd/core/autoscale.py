"""How many containers a pool should have, and how much of a batch one of them gets.

Pure arithmetic: numbers in, numbers out. It must not know the records of the core.
"""

from __future__ import annotations

from math import ceil

#: Weight of a new observation in the moving average of run times.
ESTIMATE_WEIGHT = 0.2
#: No input is taken to be faster than this.
ESTIMATE_S_MIN = 1e-6


def next_estimate_s(estimate_s: float | None, exec_us: int, count: int) -> float:
    """The moving average of one input's run time after ``count`` more took ``exec_us``."""
    sample_s = exec_us * 1e-6 / count
    sample_s = max(sample_s, ESTIMATE_S_MIN)
    if estimate_s is None:
        return sample_s
    return estimate_s + (sample_s - estimate_s) * ESTIMATE_WEIGHT


def desired_containers(
    *,
    queued: int,
    running: int,
    estimate_s: float | None,
    stalled: int,
    containers_min: int,
    containers_max: int,
    buffer: int,
    single_use: bool,
    backlog_per_container_s: float,
    inputs_per_container: int = 1,
) -> int:
    """The number of containers, starting or ready, that the pool's work asks for.

    One container for each input that waits or runs, or for each ``inputs_per_container`` of them,
    and the buffer while there is any. Inputs known
    to be tiny do not each deserve a container: beyond the first, and beyond those that are stuck in
    a long input, there is one for each ``backlog_per_container_s`` of estimated work.

    Args:
        queued: inputs that wait.
        running: inputs that were dispatched and have no outcome.
        estimate_s: run time of one input, None when nothing is known.
        stalled: containers without progress for some time.
        containers_min: lower limit.
        containers_max: upper limit.
        buffer: containers wanted above the need.
        single_use: a container serves one input only.
        backlog_per_container_s: estimated work that is worth one container.
        inputs_per_container: inputs that one container runs at the same time.
    """
    need = ceil((queued + running) / inputs_per_container)
    if need:
        if estimate_s is not None and not single_use:
            need = min(need, 1 + stalled + ceil(need * estimate_s / backlog_per_container_s))
        need += buffer
    return max(containers_min, min(need, containers_max))


def portion(
    *,
    count: int,
    estimate_s: float | None,
    takers: int,
    share_above_s: float,
    batch_s_max: float,
) -> int:
    """How many of a batch's ``count`` inputs the next container gets, at least 1.

    Nothing is known: one, so that slow inputs spread over the containers. Known to be short: all of
    them. Longer than ``share_above_s``: a fair share when ``takers`` containers could work on it.
    Never more than ``batch_s_max`` of work, so that others of the pool get their turn.
    """
    if estimate_s is None:
        return 1
    work_s = count * estimate_s
    if takers > 1 and work_s > share_above_s:
        count = ceil(count / takers)
        work_s = count * estimate_s
    if work_s > batch_s_max:
        count = max(1, int(batch_s_max / estimate_s))
    return count
