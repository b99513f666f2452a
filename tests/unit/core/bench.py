"""A scheduler with one pool on the bench: short verbs for events, invariants after each."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from volantd.core import Dispatch, ExitCause, PoolConfig, Scheduler, StartContainer

if TYPE_CHECKING:
    from volantd.core import Batch, Command, Limits


class Bench:
    """Pool ``p`` with some containers ``c1, c2 ...`` ready, idle, and of known speed."""

    def __init__(
        self,
        *,
        containers: int = 0,
        exec_us: int | None = None,
        config: PoolConfig | None = None,
        limits: Limits | None = None,
    ) -> None:
        numbers = count(1)
        self.now = 100.0
        self.config = config or PoolConfig()
        self.scheduler = Scheduler(lambda: f"c{next(numbers)}", limits)
        self.commands: list[Command] = []
        first = replace(self.config, min_containers=containers, max_containers=max(containers, 1))
        self.do(self.scheduler.add_pool("p", first, self.now))
        for container_id in self.ids_started():
            self.ready(container_id)
        if containers:
            self.do(self.scheduler.update_pool_config("p", self.config, self.now))
        else:
            pool = self.scheduler.state.pools["p"]
            pool.config, pool.need = self.config, self.config.need
        if exec_us is not None:
            self.scheduler.state.pools["p"].estimate_s = exec_us * 1e-6
        self.commands.clear()

    def do(self, commands: list[Command]) -> list[Command]:
        """Keeps the commands of an event, and checks the invariants after it."""
        self.commands += commands
        self.scheduler.check_invariants()
        return commands

    # Clients

    def open(self, call_id: str, pool_id: str = "p") -> None:
        self.do(self.scheduler.open_call(call_id, pool_id, self.now))

    def submit(self, call_id: str, first_index: int, total: int) -> list[Command]:
        payload = f"payload of {call_id}"
        return self.do(self.scheduler.submit(call_id, first_index, total, payload, self.now))

    def close(self, call_id: str, total: int) -> list[Command]:
        return self.do(self.scheduler.close_call(call_id, total, self.now))

    def call(self, call_id: str, total: int, pool_id: str = "p") -> list[Command]:
        """Opens, submits all inputs as one batch, and closes."""
        self.open(call_id, pool_id)
        return self.submit(call_id, 0, total) + self.close(call_id, total)

    def cancel(self, call_id: str, *, terminate: bool = False) -> list[Command]:
        return self.do(self.scheduler.cancel_call(call_id, terminate, self.now))

    def forget(self, call_id: str) -> list[Command]:
        return self.do(self.scheduler.forget_call(call_id, self.now))

    # Containers

    def commands_run(self, container_id: str, number: int) -> list[Command]:
        """So many commands of clients run in it from now on."""
        return self.do(self.scheduler.commands_run(container_id, number, self.now))

    def ready(self, container_id: str) -> list[Command]:
        return self.do(self.scheduler.container_ready(container_id, self.now))

    def succeed(self, container_id: str, number: int = 1, exec_us: int = 10) -> list[Command]:
        """The container's oldest batch goes on; its results must be wanted."""
        batch_id = self.batch_id(container_id)
        deliver, commands = self.scheduler.succeeded(
            container_id, batch_id, number, exec_us, self.now
        )
        assert deliver
        return self.do(commands)

    def fail(self, container_id: str, *, retryable: bool = True) -> tuple[str, list[Command]]:
        batch_id = self.batch_id(container_id)
        verdict, commands = self.scheduler.failed(container_id, batch_id, retryable, self.now)
        return verdict, self.do(commands)

    def returned(self, container_id: str, number: int) -> list[Command]:
        batch_id = self.batch_id(container_id)
        return self.do(self.scheduler.returned(container_id, batch_id, number, self.now))

    def exit(self, container_id: str, cause: ExitCause = ExitCause.CRASHED) -> list[Command]:
        return self.do(self.scheduler.container_exited(container_id, cause, "signal 9", self.now))

    def start_failed(self, container_id: str, *, retryable: bool = True) -> list[Command]:
        return self.do(
            self.scheduler.container_start_failed(container_id, "why", retryable, self.now)
        )

    def tick(self, now: float) -> list[Command]:
        """Time passes until ``now``, without a wake before."""
        self.now = now
        return self.do(self.scheduler.tick(now))

    # Looking

    def outstanding(self, container_id: str) -> dict[int, Batch]:
        return self.scheduler.state.containers[container_id].outstanding

    def batch_id(self, container_id: str) -> int:
        return next(iter(self.outstanding(container_id)))

    def holds(self, container_id: str) -> list[tuple[str, int, int]]:
        """Call, next index and count left of each batch that the container holds."""
        return [
            (batch.call_id, batch.first_index + batch.done, batch.count - batch.done)
            for batch in self.outstanding(container_id).values()
        ]

    def ids_started(self) -> list[str]:
        """Ids of all containers whose start was asked for since the bench was ready."""
        return [
            command.container_id for command in self.commands if isinstance(command, StartContainer)
        ]


def dispatched(commands: list[Command]) -> list[tuple[str, int, int]]:
    """Container, first index and count of each dispatch among the commands."""
    return [
        (command.container_id, command.batch.first_index, command.batch.count)
        for command in commands
        if isinstance(command, Dispatch)
    ]
