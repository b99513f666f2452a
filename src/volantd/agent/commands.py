"""Commands that clients run in containers: in one that is there, or in a fresh one of its own.

wish --> zygote runs it in the container --> limits of the container --> its ends, to the client
                                                            its end --> the reply, to the client

A command whose client is gone is hung up on, and one whose container ends is dead. A fresh
container serves no inputs and belongs to no pool: it ends with its command, and with its app.
One that is there is not taken for idle while commands run in it.
"""

from __future__ import annotations

import asyncio
import os
from time import monotonic
from typing import TYPE_CHECKING

from volant import ids
from volant.errors import NotFoundError
from volant.wire.faults import platform_fault
from volantd.agent import limits, zygotes
from volantd.hub.terminals import send_descriptors
from volantd.runtime.client import (
    CommandFailedError,
    CommandSpec,
    PrepareFailedError,
    RuntimeFailedError,
)

if TYPE_CHECKING:
    from volantd.agent.agent import Agent
    from volantd.agent.containers.running import Running
    from volantd.agent.tasks import Tasks
    from volantd.hub.records import App, Function
    from volantd.hub.session import Session
    from volantd.hub.terminals import Wish
    from volantd.runtime.client import Command


class Commands:
    """The commands of this machine's containers."""

    def __init__(self, agent: Agent, tasks: Tasks) -> None:
        self._agent = agent
        self._tasks = tasks
        #: Containers that are there for one command.
        self._fresh: set[Running] = set()

    def run_in(self, session: Session, number: int, container_id: str, wish: Wish) -> None:
        """Run a command in a container that is there.

        Raises:
            NotFoundError: when it is not.
        """
        running = self._agent.find(container_id)
        if running.prepared is None:
            raise NotFoundError(
                f"container {container_id} is a sandbox", hint="use `volant sandbox exec`"
            )
        self._count(running, 1)
        self._tasks.start(self._run(session, number, running, wish), "run-command")

    def run_fresh(self, session: Session, number: int, function: Function, wish: Wish) -> None:
        """Run a command in a container of its own."""
        self._tasks.start(self._run_fresh(session, number, function, wish), "run-shell")

    def close(self, app: App) -> None:
        """End the containers of an app that are there for one command."""
        for running in self._fresh:
            if running.function.app is app and running.child is not None:
                running.child.forked.kill()

    async def _run(self, session: Session, number: int, running: Running, wish: Wish) -> None:
        try:
            command = await self._start(running, wish)
        except (CommandFailedError, RuntimeFailedError) as error:
            self._count(running, -1)
            where = running.container_id
            _refuse(session, number, f"the command cannot be run in {where}: {error}")
            return
        command.exited.add_done_callback(lambda _: self._count(running, -1))
        self._serve(session, number, command)

    def _count(self, running: Running, change: int) -> None:
        """Have the core know how many commands keep a container from being idle."""
        hub, now = self._agent.hub, monotonic()
        running.commands += change
        unit_id = self._agent.unit_of(running.container_id)
        gang = self._agent.gangs.get(unit_id)
        count = sum(one.commands for one in ([running] if gang is None else gang.members()))
        hub.apply(hub.scheduler.commands_run(unit_id, count, now), now)

    async def _start(self, running: Running, wish: Wish) -> Command:
        child, prepared = running.child, running.prepared
        assert child is not None and prepared is not None
        confined = zygotes.limits_of(prepared.zygote)
        env = {**running.marks(), **wish.env}
        spec = CommandSpec(argv=wish.argv, env=env, terminal=wish.terminal, limits=confined)

        async def admit(pid: int) -> None:
            if child.cgroup is not None:
                await asyncio.to_thread(child.cgroup.add, pid)
            else:
                limits.limit_memory(pid, running.memory_limit_bytes)

        return await prepared.zygote.run(child.forked, ids.new_id("cm"), spec, admit)

    def _serve(self, session: Session, number: int, command: Command) -> None:
        """Give a client its ends, and the wait status when that is known."""

        def on_exited(_: object) -> None:
            if session.commands.get(number) is command:
                del session.commands[number]
            reply = {"status": command.exited.result(), "with_container": command.was_cut_off}
            session.reply(number, reply)
            self._agent.hub.after_events()

        before = session.commands.pop(number, None)
        if before is not None:
            before.hang_up()  # a client that gives two of its requests one number
        session.commands[number] = command
        send_descriptors(session, number, command.fds)
        command.exited.add_done_callback(on_exited)
        if session.peer.closed:
            command.hang_up()
        self._agent.hub.after_events()

    # -- fresh containers

    async def _run_fresh(
        self, session: Session, number: int, function: Function, wish: Wish
    ) -> None:
        agent = self._agent
        running = agent.add(function)
        try:
            prepared = running.prepared = await agent.zygotes.get(function.version)
            prepared.in_use += 1
            running.child = await prepared.child()
            running.child.forked.exited.add_done_callback(lambda _: self._on_exited(running))
            self._fresh.add(running)
            await limits.limit(function, running.child, running.memory_limit_bytes)
            await agent.volumes.mount(running, running.child.forked)
            if function.app.state == "stopped" or session.peer.closed:
                raise CommandFailedError("its client is gone")
            command = await self._start(running, wish)
        except PrepareFailedError as error:
            session.refuse(number, error.fault)
            self._give_up(running)
        except (CommandFailedError, RuntimeFailedError, OSError) as error:
            _refuse(session, number, f"no container of `{function.name}` can be started: {error}")
            self._give_up(running)
        else:
            child = running.child
            command.exited.add_done_callback(lambda _: child.forked.kill())
            self._serve(session, number, command)

    def _give_up(self, running: Running) -> None:
        if running.child is not None:
            running.child.forked.kill()  # the rest is done when it is gone
            return
        if running.prepared is not None:
            running.prepared.in_use -= 1
        self._agent.remove(running)

    def _on_exited(self, running: Running) -> None:
        child, prepared = running.child, running.prepared
        assert child is not None and prepared is not None
        self._fresh.discard(running)
        self._agent.remove(running)
        prepared.in_use -= 1
        child.forked.channel.close()
        child.forked.sdk.close()
        os.close(child.forked.stdout_fd)
        os.close(child.forked.stderr_fd)
        child.remove_cgroup()
        self._agent.volumes.end(running)


def _refuse(session: Session, number: int, text: str) -> None:
    session.refuse(number, platform_fault("ExecutionError", text))
