"""`volant.experimental.stop_fetching_inputs()`: a container that wants to end."""

from __future__ import annotations

from volant import _context
from volant.channel import current
from volant.errors import ExecutionError


def stop_fetching_inputs() -> None:
    """Have this container take no more inputs: it ends with those that it runs now.

    Its exit hooks run then, and other containers take what is waiting. For code that knows it has
    to begin anew: memory that grew, a device that fell ill, a permit that runs out.

    Raises:
        ExecutionError: outside a container.
    """
    if not _context.in_container():
        raise ExecutionError(
            "stop_fetching_inputs() only means something in a container",
            hint="call it in a function or method that runs remotely",
        )
    current.channel().request("container_retire")
