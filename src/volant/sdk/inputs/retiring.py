"""What a container may want of its own: to end, now or soon, and how much it does at once."""

from __future__ import annotations

from volant import _context
from volant.channel import current
from volant.errors import ExecutionError, InvalidError


def stop_fetching_inputs() -> None:
    """Have this container take no more inputs: it ends with those that it runs now.

    Its exit hooks run then, and other containers take what is waiting. For code that knows it has
    to begin anew: memory that grew, a device that fell ill, a permit that runs out.

    Raises:
        ExecutionError: outside a container.
    """
    _check_inside("stop_fetching_inputs()")
    current.channel().request("container_retire")


def simulate_preemption(wait_seconds: float, jitter_seconds: float = 0) -> None:
    """Have this container end in a while, as one does whose room is needed for another.

    Running code is interrupted, exit hooks run, and after 30 seconds at most the container is
    gone; what it ran begins anew in another. For trying whether a program stands that.

    Args:
        wait_seconds: until then.
        jitter_seconds: up to so many more, by chance.

    Raises:
        ExecutionError: outside a container.
        InvalidError: for what are no seconds.
    """
    import random
    import threading

    for given in (wait_seconds, jitter_seconds):
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not given >= 0:
            raise InvalidError(f"seconds are a number from 0 on, got {given!r}")
    _check_inside("simulate_preemption()")
    after_s = wait_seconds + random.random() * jitter_seconds  # no secret
    timer = threading.Timer(after_s, lambda: current.channel().request("container_preempt"))
    timer.daemon = True
    timer.start()


def get_local_input_concurrency() -> int:
    """How many inputs this container runs at once, at most: that of `@volant.concurrent`, or 1.

    Raises:
        ExecutionError: outside a container.
    """
    _check_inside("get_local_input_concurrency()")
    return _context.inputs_max


def _check_inside(form: str) -> None:
    if not _context.in_container():
        raise ExecutionError(
            f"{form} only means something in a container",
            hint="call it in a function or method that runs remotely",
        )
