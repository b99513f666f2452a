"""The sandboxes of this machine: started for the hub, ended, and asked for commands.

    start: base of the image ─► fork ─► limits ─► volumes ─► its program ─► probe ─► ready
    end:   its program, a request, time, idleness, its app ─► killed ─► nothing runs ─► finished

A sandbox is a container of no function: it is listed, limited and measured as they are.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from volant.errors import Error, ExecutionError, InvalidError
from volant.wire.faults import error_fault
from volantd import lent
from volantd.agent import gpus as devices, limits
from volantd.agent.sandboxes import probing
from volantd.agent.sandboxes.belongings import usage
from volantd.agent.sandboxes.belongings.grants import Grants
from volantd.agent.sandboxes.belongings.leaving import Leaving
from volantd.agent.sandboxes.belongings.mounts import Contents
from volantd.agent.sandboxes.belongings.sidecars import Sidecars
from volantd.agent.sandboxes.commands import Executions
from volantd.agent.sandboxes.copies.forking import Copier
from volantd.agent.sandboxes.copies.kept import CopiedSandboxes
from volantd.agent.sandboxes.kernels import gvisor
from volantd.agent.sandboxes.live import Live
from volantd.agent.sandboxes.output import Output, logged_output
from volantd.agent.sandboxes.snapshots import Snapshots
from volantd.agent.sandboxes.ways import Ways
from volantd.hub.sandboxes.record import Ending, Result, State, terminated
from volantd.hub.terminals import send_descriptors
from volantd.images import described
from volantd.images.keys import image_id
from volantd.runtime.client import CommandFailedError, PrepareFailedError, RuntimeFailedError

if TYPE_CHECKING:
    from volantd.agent.agent import Agent
    from volantd.agent.containers.running import Running
    from volantd.agent.ports.tunnels import Tunnels
    from volantd.agent.sandboxes.bases import Bases
    from volantd.agent.sandboxes.commands import Execution
    from volantd.agent.sandboxes.copies.kept import MoveIn
    from volantd.agent.sandboxes.copies.program import Criu
    from volantd.agent.sandboxes.outlets import Outlets
    from volantd.agent.tasks import Tasks
    from volantd.core import StartContainer
    from volantd.hub.records import App, Version
    from volantd.hub.sandboxes.checked import Wish
    from volantd.hub.sandboxes.outbound import Outbound
    from volantd.hub.sandboxes.record import Sandbox
    from volantd.hub.session import Session
    from volantd.runtime.copies.restored import RestoredProgram
    from volantd.runtime.sandboxes.holder import HeldCommand

log = logging.getLogger(__name__)

#: Exit code of one that could not be started.
FAILED_CODE = 1


class SandboxService:
    """Carries out what clients want of sandboxes."""

    def __init__(
        self, agent: Agent, bases: Bases, tasks: Tasks, tunnels: Tunnels, outlets: Outlets,
        directory: str, criu: Criu,
    ) -> None:  # fmt: skip
        """`directory`: for what programs print."""
        self._agent = agent
        self._bases = bases
        self._tasks = tasks
        self._tunnels = tunnels
        self._outlets = outlets
        self._ways = Ways(agent.machine)
        self._grants = Grants(agent)
        self._directory = directory
        self._live: dict[str, Live] = {}
        #: What programs printed that have ended, as long as they are remembered.
        self._printed: dict[str, dict[str, Output]] = {}
        os.makedirs(directory, mode=0o700, exist_ok=True)
        agent.hub.sandboxes.on_forgotten = self._forget
        self._snapshots = Snapshots(bases.images)
        self._leaving = Leaving(self._snapshots, tasks)
        started = self._when_started
        self.contents = Contents(agent, bases.images, self._snapshots, tasks, started)
        self._sidecars = Sidecars(agent.machine, bases, tasks)
        self._spares = gvisor.Spares(agent.zygotes, tasks, bases.ahead)
        self.end_ahead = self._spares.end_ahead
        self.copies = CopiedSandboxes(
            agent.hub, Copier(agent.machine, criu), outlets, started, self.start,
            self.contents.has_had_images,
        )  # fmt: skip
        #: Images whose bases are being made ahead, and names of the apps that they are for.
        self._ahead: set[tuple[str, str]] = set()

    # -- the start

    def start(self, sandbox: Sandbox, move_in: MoveIn | None = None) -> None:
        """Start a sandbox that was just taken into the book.

        Args:
            sandbox: what is to start.
            move_in: brings what is to run there, in the place of its program.
        """
        live = Live(sandbox, self._live.get(sandbox.sidecar_of))
        self._live[sandbox.sandbox_id] = live
        self._tasks.start(self._start(live, move_in), "start-sandbox")

    async def _start(self, live: Live, move_in: MoveIn | None) -> None:
        sandbox = live.sandbox
        try:
            await self._make(live, move_in)
        except PrepareFailedError as error:
            self._fail(live, error.fault)
        except Error as error:
            self._fail(live, error_fault(error))
        except (RuntimeFailedError, CommandFailedError, OSError) as error:
            failed = ExecutionError(f"sandbox {sandbox.sandbox_id} cannot be started: {error}")
            self._fail(live, error_fault(failed))

    async def _make(self, live: Live, move_in: MoveIn | None) -> None:
        agent, sandbox, hub = self._agent, live.sandbox, self._agent.hub
        version = sandbox.function.version
        if await agent.machine.rung != "container":
            raise ExecutionError(
                "sandboxes need containers, and this daemon runs functions as plain processes",
                hint="`volant server status` says what this machine lacks",
            )
        if version.stored:
            version = await hub.secrets.resolved(version)
        said = partial(agent.logs.append, sandbox.function, "import", "stdout")
        base = live.base = await self._sidecars.base(live, version, said)
        base.in_use += 1
        sandbox.finished.add_done_callback(lambda _: self._release(live))
        grant = await self._grants.get(live)
        if live.ending is not None:
            self._finish(live, live.ending)
            return
        sandbox.advance(State.SCHEDULED)
        running, booted = await self._fork(live, grant)
        assert running.child is not None and live.holder is not None
        env = await self._variables(live, version)
        live.executions = Executions(live.holder, env, sandbox.workdir, live.note_activity)
        if booted is None or running.child.cgroup is not None:
            await limits.limit(sandbox.function, running.child, running.memory_limit_bytes)
        is_built = version.image["kind"] != "host"
        await devices.grant(agent.machine, running.gpus, running.child.forked, is_built=is_built)
        await agent.volumes.mount(running, running.child.forked)
        if booted is not None:
            booted.boot(None if running.child.cgroup else running.memory_limit_bytes)
        command: HeldCommand | RestoredProgram | None = None
        if move_in is not None:
            command = await move_in(live)
        elif sandbox.argv:
            command = await live.executions.run(live.wish(), {})
        if command is not None:
            live.take_main(command, partial(self._output, live, version.hidden))
        sandbox.advance(State.STARTED)
        live.start_clocks()
        if live.host is not None and live.host.sandbox.is_paused:
            await live.pause()
        self._leaving.watch(live)
        if booted is not None:
            self._spares.renew(base)
        if sandbox.probe is not None:
            self._tasks.start(self._probe(live), "probe-sandbox")

    async def _variables(self, live: Live, version: Version) -> dict[str, str]:
        """Variables of all commands of a sandbox, once it has its way out, which they hold for."""
        sandbox, running = live.sandbox, live.running
        assert running is not None
        sandbox_id = sandbox.sidecar_of or sandbox.sandbox_id
        told = lent.under_all_names({"VOLANT_SANDBOX_ID": sandbox_id})
        env = {**live.base.env, **version.env, **told}
        env |= devices.variables(self._agent.machine, running.gpus)
        return env | await self._outlets.make(sandbox, live.forked, self._agent.hub)

    async def _fork(
        self, live: Live, grant: StartContainer | None
    ) -> tuple[Running, gvisor.Booted | None]:
        agent, sandbox = self._agent, live.sandbox
        child, booted = await self._spares.fork(live)
        running = live.running = agent.add(sandbox.function, grant)
        running.state, running.child = "sandbox", child
        sandbox.container_id, sandbox.pid = running.container_id, child.forked.pid
        child.forked.sdk.close()
        os.close(child.forked.stdout_fd)
        live.complaint_fd = child.forked.stderr_fd
        child.forked.exited.add_done_callback(lambda _: self._on_exited(live))
        if live.ending is not None:
            live.kill()
        return running, booted

    def _output(self, live: Live, hidden: tuple[str, ...], fd: int, stream: str) -> Output:
        sandbox = live.sandbox
        assert live.running is not None
        output = logged_output(
            fd, stream, self._directory, sandbox, self._agent.logs, live.running.is_congested,
            hidden,
        )  # fmt: skip
        self._printed.setdefault(sandbox.sandbox_id, {})[stream] = output
        return output

    async def _probe(self, live: Live) -> None:
        if await probing.wait(live, live.forked):
            live.sandbox.advance(State.READY)

    # -- the end

    def _fail(self, live: Live, fault: bytes) -> None:
        result = live.ending or Result(ending=Ending.FAILED, code=FAILED_CODE, fault=fault)
        if live.running is None:
            self._finish(live, result)
        elif not live.sandbox.is_finished:
            live.end(result)

    def _on_exited(self, live: Live) -> None:
        running = live.running
        assert running is not None and running.child is not None
        if live.holder is not None:
            live.holder.close()
        result = live.result_of(running, running.child.forked.exited.result())
        self._agent.remove(running)
        running.child.forked.channel.close()
        running.child.remove_cgroup()
        committed = self._agent.volumes.end(running)
        self._outlets.close(live.sandbox.sandbox_id)
        self._ways.close(live.sandbox.sandbox_id)
        waited: list[asyncio.Future[Any]] = [committed, *live.end_sidecars()]
        left = [one for one in waited if not one.done()]
        if not left:
            self._finish(live, result)
        else:  # whoever waits for its end may look at once for what it wrote
            live.ending = result
            gone = asyncio.gather(*left, return_exceptions=True)
            gone.add_done_callback(lambda _: self._finish(live, result))

    def _finish(self, live: Live, result: Result) -> None:
        sandbox, hub = live.sandbox, self._agent.hub
        live.close()
        self._grants.give_back(sandbox)
        self._live.pop(sandbox.sandbox_id, None)
        fields = {"sandbox_id": sandbox.sandbox_id, **result.as_fields()}
        log.info("sandbox_finished", extra={"fields": fields})
        sandbox.finish(result)
        hub.loop.call_soon(hub.close_unused, sandbox.app)
        hub.after_events()

    def _release(self, live: Live) -> None:
        live.base.in_use -= 1
        self._bases.ahead.note_use()  # else a base that was in use for long would stay for good

    def _forget(self, sandbox: Sandbox) -> None:
        for output in self._printed.pop(sandbox.sandbox_id, {}).values():
            output.forget()

    def end(self, sandbox: Sandbox, result: Result) -> None:
        """Have a sandbox end; `finished` tells when it has."""
        live = self._live.get(sandbox.sandbox_id)
        if live is not None:
            live.end(result)

    def close(self, app: App, reason: str) -> None:
        """End all sandboxes of an app."""
        for sandbox in self._agent.hub.sandboxes.of(app):
            self.end(sandbox, terminated(reason))

    # -- what is asked of one

    def _started(self, sandbox: Sandbox) -> tuple[Live, Executions]:
        live = self._live.get(sandbox.sandbox_id)
        if live is None or live.executions is None or live.ending is not None:
            how = sandbox.result.reason if sandbox.result is not None else ""
            raise ExecutionError(
                f"sandbox {sandbox.sandbox_id} has finished{f': {how}' if how else ''}"
            )
        return live, live.executions

    def _awake(self, sandbox: Sandbox) -> tuple[Live, Executions]:
        """As `_started`, of one in which something can run."""
        found = self._started(sandbox)
        if sandbox.is_paused:
            raise ExecutionError(
                f"sandbox {sandbox.sandbox_id} is paused, and runs nothing",
                hint="resume() lets it go on",
            )
        return found

    async def pause(self, sandbox: Sandbox) -> None:
        """Have nothing in a sandbox run, as soon as that has started.

        Raises:
            ExecutionError: when it has finished, or cannot be paused.
        """
        live, _ = await self._when_started(sandbox)
        await live.pause()
        self._started(sandbox)

    async def resume(self, sandbox: Sandbox) -> None:
        """Let a sandbox that was paused go on.

        Raises:
            ExecutionError: when it has finished.
        """
        live, _ = await self._when_started(sandbox)
        await live.resume()

    async def execute(self, session: Session, sandbox: Sandbox, wish: Wish) -> Execution:
        """Run a command in a sandbox, as soon as that has started.

        Raises:
            ExecutionError: when the sandbox has finished or is paused, or the command cannot be
                begun.
            Error: when a secret is not there.
        """
        await asyncio.shield(sandbox.started)
        _, executions = self._awake(sandbox)
        place, secrets = sandbox.app.environment, self._agent.hub.secrets
        stored = secrets.layered(wish.stored, place) if wish.stored else {}
        try:
            return await executions.begin(wish, {**stored, **wish.env})
        except (CommandFailedError, OSError) as error:
            self._started(sandbox)
            text = f"the command cannot be run in {sandbox.sandbox_id}: {error}"
            raise ExecutionError(text) from error

    async def lend_files(self, session: Session, number: int, sandbox: Sandbox) -> None:
        """Give a client a socket on which the files of a sandbox are served.

        Raises:
            ExecutionError: when the sandbox has finished, or is paused.
        """
        await asyncio.shield(sandbox.started)
        live, _ = self._awake(sandbox)
        assert live.holder is not None
        try:
            send_descriptors(session, number, [live.holder.lend_files()])
        except (CommandFailedError, OSError) as error:
            text = f"the files of sandbox {sandbox.sandbox_id} cannot be reached: {error}"
            raise ExecutionError(text) from error
        live.note_activity()

    async def snapshot(self, sandbox: Sandbox, timeout_s: float, ttl_s: float | None) -> str:
        """The id of an image with the files of a sandbox, as soon as that has started.

        Raises:
            ExecutionError: when the sandbox has finished.
            Error: as `Snapshots.take`.
        """
        live, _ = await self._when_started(sandbox)
        if sandbox.runtime != "gvisor":  # whose bases are never blank
            self._bases.expect_snapshot(sandbox.function.version)
        image = await self._snapshots.take(live, timeout_s, ttl_s)
        version = dataclasses.replace(sandbox.function.version, image=image, files=())
        self._tasks.start(self._prepare(version, sandbox.app.name), "prepare-base")
        return image_id(image[described.KEY])

    async def _prepare(self, version: Version, app_name: str) -> None:
        """Have a base of a snapshot ahead, as somebody will want a sandbox of it next."""
        wanted = version.image[described.KEY], app_name
        self._ahead.add(wanted)
        try:
            await self._bases.get(version, lambda printed: None)
        except (Error, RuntimeFailedError) as error:  # told again to whoever wants it
            log.info("base_not_ahead", extra={"fields": {"error": str(error)}})
        finally:
            self._ahead.discard(wanted)

    async def _when_started(self, sandbox: Sandbox) -> tuple[Live, Executions]:
        await asyncio.shield(sandbox.started)
        return self._started(sandbox)

    def execution(self, sandbox: Sandbox, command_id: str) -> Execution | None:
        """A command of a sandbox; None when that has finished.

        Raises:
            NotFoundError: when a sandbox that lives knows none of this id.
        """
        live = self._live.get(sandbox.sandbox_id)
        if live is None or live.executions is None:
            return None
        return live.executions.find(command_id)

    async def output(self, sandbox: Sandbox, stream: str) -> Output | None:
        """What the program of a sandbox prints; None when it has none, or not such a stream."""
        await asyncio.shield(sandbox.started)
        return self._printed.get(sandbox.sandbox_id, {}).get(stream)

    async def lend_stdin(self, session: Session, number: int, sandbox: Sandbox) -> None:
        """Give a client an end of what the program of a sandbox reads.

        Raises:
            ExecutionError: when it has no program, or that reads no more.
        """
        live, _ = await self._when_started(sandbox)
        if live.stdin < 0:
            raise ExecutionError(f"nothing reads the stdin of sandbox {sandbox.sandbox_id}")
        send_descriptors(session, number, [os.dup(live.stdin)])
        live.note_activity()

    def close_stdin(self, sandbox: Sandbox) -> None:
        """Close the daemon's end of what the program of a sandbox reads."""
        live = self._live.get(sandbox.sandbox_id)
        if live is not None:
            live.close_stdin()

    async def tunnels(self, sandbox: Sandbox) -> dict[int, tuple[str, int, bool]]:
        """Where the ports of a sandbox are reached: port -> host, port, whether TLS is spoken.

        Raises:
            ExecutionError: when it has finished, or one cannot be opened.
        """
        live, _ = await self._when_started(sandbox)
        if live.tunnels is None:
            loop = self._agent.hub.loop
            live.tunnels = loop.create_task(self._open_tunnels(live), name="open-tunnels")
        return await live.tunnels

    async def _open_tunnels(self, live: Live) -> dict[int, tuple[str, int, bool]]:
        assert live.running is not None
        found = {}
        for port in live.sandbox.ports:
            found[port.number] = await self._tunnels.lead(
                live.running, port.number, live.sandbox.inbound, live.note_connections,
                is_plain=port.is_plain,
            )  # fmt: skip
        return found

    async def open_way(self, sandbox: Sandbox, port: int) -> str:
        """A socket that leads to a port of a sandbox, as soon as that has started.

        Raises:
            ExecutionError: when it has finished, or there can be none.
        """
        live, _ = await self._when_started(sandbox)
        return await self._ways.open(sandbox.sandbox_id, live.forked, port, live.note_connections)

    async def set_outbound(self, sandbox: Sandbox, outbound: Outbound) -> None:
        """Change whom a sandbox may reach, as soon as that has started.

        Raises:
            InvalidError: when its network is the machine's, or it trusts no authority of its own.
            ExecutionError: when it has finished, or the change cannot be made.
        """
        live, _ = await self._when_started(sandbox)
        assert live.running is not None
        if not sandbox.function.version.block_network:
            raise InvalidError(
                f"sandbox {sandbox.sandbox_id} has this machine's network, which cannot be limited",
                hint="create it with a list of whom it may reach, or with block_network=True",
            )
        outlets, of = self._outlets, sandbox.sandbox_id
        if outbound.wanted and not outlets.trusts(of):
            raise InvalidError(
                f"sandbox {of} trusts nobody who could replace headers for it",
                hint="create it with _experimental_outbound_policy=",
            )
        try:
            if outlets.has(of):
                policy = outbound.filled(self._agent.hub.secrets, sandbox.app.environment)
                await outlets.change(of, policy)
            else:
                await outlets.make(sandbox, live.forked, self._agent.hub, outbound)
        except RuntimeFailedError as error:
            self._started(sandbox)
            raise ExecutionError(f"whom {of} may reach cannot be changed: {error}") from error
        sandbox.outbound = outbound

    async def files_kept(self) -> None:
        """Return when what sandboxes leave behind that were told to end is kept."""
        await self._leaving.done()

    async def usage(self, sandbox: Sandbox) -> dict[str, Any]:
        """What a sandbox uses now, as soon as it has started; see `usage.of`.

        Raises:
            ExecutionError: when it has finished.
        """
        live, _ = await self._when_started(sandbox)
        return await asyncio.to_thread(usage.of, live.forked)

    def add_users_of_images(self, found: dict[str, list[str]]) -> None:
        """Add to images, by their keys, the names of the apps whose sandboxes need them."""
        users = list(self._ahead)
        for one in [*(live.sandbox for live in self._live.values()), *self.copies.sources()]:
            image = one.function.version.image
            if image["kind"] != "host":
                users.append((image[described.KEY], one.app.name))
        for key, name in dict.fromkeys(users):
            found.setdefault(key, []).append(name)
