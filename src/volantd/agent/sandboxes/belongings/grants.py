"""GPUs of sandboxes: asked of the core as a function's are, had until the sandbox has ended.

    a pool of one container that never serves ─► its turn comes ─► the devices of that container

So a sandbox waits in the same line as functions, devices are kept for it as for them, and idle
containers make room for it. To the core its container is about to start for as long as it lives:
it is never idle, and so never has to leave.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from volant import gpus
from volant.errors import ResourceExhaustedError
from volantd.core import ExitCause, PoolConfig
from volantd.hub.pools.configuration import gpu_wishes
from volantd.hub.pools.waiting import machine_in_words

if TYPE_CHECKING:
    from volantd.agent.agent import Agent
    from volantd.agent.sandboxes.live import Live
    from volantd.core import StartContainer
    from volantd.hub.sandboxes.record import Sandbox

#: No deadline for what only seems to start; of any daemon.
NEVER_S = 1e9


class Grants:
    """What the core has granted to the sandboxes of this machine."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._granted: dict[str, StartContainer] = {}

    async def get(self, live: Live) -> StartContainer | None:
        """What the core grants a sandbox, once it is its turn; None when it asked for nothing.

        It is over as well when the sandbox is told to end.

        Raises:
            ResourceExhaustedError: when this machine has no such devices.
        """
        sandbox, hub = live.sandbox, self._agent.hub
        function, wishes = sandbox.function, sandbox.function.options["gpu"]
        if not wishes:
            return None
        config = PoolConfig(
            min_containers=1, max_containers=1, gpus=tuple(gpu_wishes(wishes)),
            startup_timeout_s=NEVER_S,
        )  # fmt: skip
        if hub.services.gpus_known and hub.scheduler.state.fleet.lacks_gpus(config.need):
            raise ResourceExhaustedError(
                f"sandbox {sandbox.sandbox_id} asks for a GPU that is not there: "
                f"{gpus.in_words(wishes)}; {machine_in_words(hub.scheduler)}"
            )
        grant = live.grant = asyncio.get_running_loop().create_future()

        def take(command: StartContainer) -> None:
            self._granted[sandbox.sandbox_id] = command
            if not grant.done():
                grant.set_result(None)

        self._agent.reserved[function.function_id] = take
        hub.functions[function.function_id] = function
        now = monotonic()
        hub.apply(hub.scheduler.add_pool(function.function_id, config, now), now)
        await grant
        return self._granted.get(sandbox.sandbox_id)

    def give_back(self, sandbox: Sandbox) -> None:
        """Let others have what a sandbox had that has ended."""
        hub, now = self._agent.hub, monotonic()
        self._agent.reserved.pop(sandbox.function.function_id, None)
        hub.remove_pool(sandbox.function, now)
        command = self._granted.pop(sandbox.sandbox_id, None)
        if command is not None:
            ended = ExitCause.CLEAN, "its sandbox has ended"
            hub.apply(hub.scheduler.container_exited(command.container_id, *ended, now), now)
