"""Looking for an answer without sleeping, for a moment, where it is likely to come soon."""

from __future__ import annotations

import os
import select
from time import monotonic

#: How long a thread looks for the answer to a single call before it sleeps.
LOOK_OUT_S = 0.0004
#: About how long an answer takes that nothing holds up.
YIELD_AFTER_S = 0.00006
#: With one core it would keep those who make the answer from running.
SEVERAL_CORES = len(os.sched_getaffinity(0)) > 1 if hasattr(os, "sched_getaffinity") else False


def look_out(fd: int) -> None:
    """Return when there is something to read, or after `LOOK_OUT_S`.

    Going to sleep and being woken on another core takes longer than a short call itself;
    this thread would do nothing else meanwhile. Only after a call that was answered as soon.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    begun = monotonic()
    end, yield_at = begun + LOOK_OUT_S, begun + YIELD_AFTER_S
    # Whoever works for us may wait for the very core that we keep busy: the hub now, the
    # container a little later. Not each time: then they would come to stay there.
    os.sched_yield()
    while not poll.poll(0):
        now = monotonic()
        if now > end:
            return
        if now > yield_at:
            os.sched_yield()
            yield_at = end
