"""The pure core: what is decided about calls, pools and containers, and nothing else.

Owns the rules of queueing, dispatch, retries, autoscaling and the machines' ledgers. It must not do
I/O, read a clock, draw randomness, or know asyncio and threads: events are method calls that carry
``now``, and what shall happen comes back as a list of commands.

    hub, agent  --event(now)-->  Scheduler  --[Command, ...]-->  hub, agent
"""

from __future__ import annotations

from volantd.core.commands import (
    CallCancelled,
    CallFinished,
    CancelRunning,
    Command,
    Dispatch,
    FailInput,
    Flush,
    Reclaim,
    StartContainer,
    StopContainer,
)
from volantd.core.model import (
    Batch,
    ContainerState,
    ExitCause,
    Fault,
    Loss,
    Pool,
    State,
    UnknownIdError,
)
from volantd.core.nodes.node import LOCAL
from volantd.core.records.configuration import Limits, PoolConfig, RetryPolicy
from volantd.core.records.gpus import ANY_MODEL, Gpu, GpuWish
from volantd.core.scheduler import Scheduler
from volantd.core.statistics import (
    CallStatistics,
    ContainerStatistics,
    LackOfRoom,
    PoolStatistics,
    lack_of_room,
    of_pool as pool_statistics,
)

__all__ = [
    "ANY_MODEL",
    "LOCAL",
    "Batch",
    "CallCancelled",
    "CallFinished",
    "CallStatistics",
    "CancelRunning",
    "Command",
    "ContainerState",
    "ContainerStatistics",
    "Dispatch",
    "ExitCause",
    "FailInput",
    "Fault",
    "Flush",
    "Gpu",
    "GpuWish",
    "LackOfRoom",
    "Limits",
    "Loss",
    "Pool",
    "PoolConfig",
    "PoolStatistics",
    "Reclaim",
    "RetryPolicy",
    "Scheduler",
    "StartContainer",
    "State",
    "StopContainer",
    "UnknownIdError",
    "lack_of_room",
    "pool_statistics",
]
