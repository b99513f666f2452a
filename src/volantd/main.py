"""Composition root of the daemon: parses settings, connects the parts, listens, stops.

lock the home ─► clean what dead runs left ─► listen ─► ready byte ─► launcher and probe
                                                             └─► serve until stopped or idle
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import contextlib
import functools
import gc
import logging
import os
import resource
import signal
import socket
import sys
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import volant
from volant import config as settings
from volant.channel.daemon import LOG_NAME, SOCKET_NAME
from volant.channel.key import make_key
from volantd import daemon_log, home_lock, lent
from volantd.agent import gpus
from volantd.agent.agent import Agent
from volantd.agent.bare import Machine
from volantd.agent.disk import DiskGuard
from volantd.agent.images import Images
from volantd.agent.logs import LogStore
from volantd.agent.memory import MemoryGuard
from volantd.agent.ports.tunnels import Tunnels
from volantd.agent.sandboxes.bases import Bases
from volantd.agent.sandboxes.copies.program import Criu
from volantd.agent.sandboxes.outlets import Outlets
from volantd.agent.sandboxes.service import SandboxService
from volantd.agent.tasks import Tasks
from volantd.agent.volumes.building import StepVolumes
from volantd.agent.zygotes import ZygoteStore
from volantd.backups.settling import settle
from volantd.blobs.files import BlobFiles
from volantd.hub.blobs import BlobCache
from volantd.hub.deployed.registry import Deployments
from volantd.hub.durable.retention import Retention
from volantd.hub.hub import Hub
from volantd.hub.objects.dicts.dicts import Dicts
from volantd.hub.objects.queues.queues import Queues
from volantd.hub.objects.registry import Objects
from volantd.hub.peer import Peer
from volantd.hub.pools.configuration import EXIT_GRACE_S
from volantd.hub.sandboxes.ledger import Ledger
from volantd.hub.schedules.kept import KeptBook
from volantd.hub.secrets.rotation import go_on
from volantd.hub.secrets.stored import Secrets
from volantd.hub.session import Session
from volantd.hub.volumes.kind import volume_kind
from volantd.hub.web.process import GatewayProcess, tls_files
from volantd.hub.web.tokens import TokenBook
from volantd.runtime import cgroup as cgroups_module, leftovers
from volantd.runtime.client import Launcher, RuntimeFailedError
from volantd.store.database import Database
from volantd.store.journal import Journal
from volantd.volumes.service import Volumes

if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.config import Config

log = logging.getLogger("volantd")

#: Connections that wait to be accepted.
BACKLOG = 1024
#: Containers of this machine, whatever their memory.
CONTAINERS_MAX = 1000
MEMORY_SHARE = 0.9
#: Objects made, beyond those freed, between two runs of the garbage collector.
GC_ALLOCATIONS = 20_000
PROCESS_NOTICE = "functions run as plain processes (rung `process`), which are not containers"
#: How long a daemon that listens no more may take to be gone, seen by the one that follows it.
PREDECESSOR_S = 20.0
#: How often in a row a launcher that does not come up is started, and the pause ahead of the
#: second of these tries; each is longer by as much.
LAUNCHER_TRIES = 5
LAUNCHER_PAUSE_S = 0.1


class Services:
    """The parts of a running daemon, connected."""

    def __init__(
        self, config: Config, loop: asyncio.AbstractEventLoop, tasks: Tasks,
        find_gpus: Callable[[], gpus.Installed],
    ) -> None:  # fmt: skip
        self.config = config
        self.started_at = time()
        #: What the state of the present launcher is filed under.
        self.run_id = ""
        #: What clients have to show, as their first frame.
        self.key = make_key(config.home)
        self.rung = "starting"
        self.reasons: list[str] = []
        self.cgroup = "starting"
        #: Whether it has been found out which GPUs there are.
        self.gpus_known = False
        self._find_gpus = find_gpus
        self.stopping = asyncio.Event()
        self.stop_reason = ""
        self.hub = Hub(loop)
        self.hub.services = self
        self.tasks = tasks
        self.contents = BlobFiles(os.path.join(config.home, "blobs"))
        self.blobs = BlobCache(config.home, self.contents)
        self.hub.door.tokens = TokenBook(config.home)
        #: Where HTTP comes in; None until the daemon listens.
        self.gateway: GatewayProcess | None = None
        self.machine = Machine()
        self.logs = LogStore(config.home, config.number("log_bytes_max"), self.hub.streams.came)
        self.images = Images(config, self.machine, self.blobs, tasks)
        self.images.apps = self.hub.apps.values
        self.zygotes = ZygoteStore(config, self.machine, self.blobs, self.images, tasks)
        self.database = Database(config.home, config.text("database_url"))
        self.journal = Journal(self.database, loop, self.hub.after_events)
        self.standings = self.hub.timetable.durable = KeptBook(self.database, self.journal)
        reserve_bytes = int(config.number("disk_reserve_mib")) << 20
        self.objects = self.hub.objects = Objects(
            self.hub, self.database, self.journal, home=config.home, reserve_bytes=reserve_bytes
        )
        self.hub.dicts, self.hub.queues = Dicts(self.hub, config.home), Queues(self.hub)
        self.volumes = Volumes(config.home, self.database, self.journal, time)
        self.objects.register(volume_kind(self.volumes))
        self.images.builder.run = StepVolumes(self.hub, self.volumes, self.images.builder.run)
        self.hub.secrets = Secrets(self.hub, self.zygotes, self.images)
        self.deployments = Deployments(self.hub, self.database, self.contents, self.blobs)
        self.agent = Agent(self.hub, self.zygotes, self.logs, tasks)
        self.hub.containers = self.agent
        self.tunnels = Tunnels(self.agent, tasks, config.text("tunnel_host"), tls_files(config))
        self.sandboxes = self._make_sandboxes()
        self.disk, self.memory = self._make_guards(reserve_bytes)
        self._set_capacity()  # calls may come before the launcher is up

    def _make_guards(self, reserve_bytes: int) -> tuple[DiskGuard, MemoryGuard]:
        disk = DiskGuard(self.agent, self.images, self.tasks, self.config.home, reserve_bytes)
        memory_bytes = int(self.config.number("memory_reserve_mib")) << 20
        end_ahead = self.sandboxes.end_ahead
        guard = MemoryGuard(self.zygotes, self.hub.loop, memory_bytes, end_ahead=end_ahead)
        return disk, guard

    def _make_sandboxes(self) -> SandboxService:
        bases = Bases(self.config, self.zygotes, self.images, self.blobs, self.tasks)
        printed = os.path.join(self.config.home, "printed")
        outlets = Outlets(self.machine, self.tasks, time)
        criu = Criu(self.config.text("criu_path"))
        made = SandboxService(self.agent, bases, self.tasks, self.tunnels, outlets, printed, criu)
        self.hub.sandboxes.are_blocked = bool(self.config.values["sandbox_block_network"])
        self.hub.sandboxes.runtime = self.config.text("sandbox_runtime")
        self.images.add_users = made.add_users_of_images
        self.hub.sandboxes.open(Ledger(os.path.join(self.config.home, "sandboxes.jsonl")), time())
        return made

    def tell_rung(self, session: Session) -> None:
        """Tell a client when its containers are none; never pass over that in silence."""
        if not self.machine.rung.done():
            self.machine.rung.add_done_callback(lambda _: self.tell_rung(session))
        elif self.rung == "process" and not session.peer.closed:
            session.event("notice", text="; ".join([*self.reasons, PROCESS_NOTICE]))

    def stop(self, reason: str) -> None:
        """Begin to end the daemon."""
        self.stop_reason = reason
        self.stopping.set()

    # -- the machine

    async def start_runtime(self, runs_dir: str) -> None:
        """Start the launcher of a new run, and choose the rung of the isolation ladder.

        Raises:
            RuntimeFailedError: when it does not come up, however often that is tried.
        """
        self.machine.lent_dir = await asyncio.to_thread(lent.directory, self.config.home)
        launcher = await self._launched(runs_dir)
        probe = launcher.probe
        self.machine.launcher = launcher
        wanted = self.config.text("isolation")
        rung = probe.rung if wanted == "auto" else wanted
        self.reasons = list(probe.reasons)
        if wanted == "container" and probe.rung != "container":
            self.stop("isolation `container` was asked for: " + "; ".join(probe.reasons))
            return
        try:
            self.machine.cgroups = cgroups_module.Cgroups.open(self.run_id)
            self.cgroup = f"v{self.machine.cgroups.version}"
        except cgroups_module.CgroupUnavailableError as error:
            self.cgroup = "none"
            if probe.cgroup_version:  # else the probe has said so already
                self.reasons.append(str(error))
        self._set_capacity()
        self.rung = rung
        self.machine.rung.set_result(rung)
        log.info("runtime_ready", extra={"fields": {"rung": rung, "reasons": self.reasons}})

    async def _launched(self, runs_dir: str) -> Launcher:
        """The launcher of a new run; of another one if it is killed before it is up."""
        for number in range(1, LAUNCHER_TRIES + 1):
            self.run_id = f"{os.getpid()}-{int(time() * 1000):x}"
            try:
                return await Launcher.start(runs_dir, self.run_id)
            except RuntimeFailedError as error:
                failed = error
            log.warning("launcher_not_up", extra={"fields": {"error": str(failed), "try": number}})
            await asyncio.sleep(LAUNCHER_PAUSE_S * number)
            await asyncio.to_thread(leftovers.clean_dead_runs, runs_dir)
        text = f"the launcher did not come up, {LAUNCHER_TRIES} times in a row: {failed}"
        raise RuntimeFailedError(text) from failed

    async def keep_runtime(self, runs_dir: str) -> None:
        """Start anew whenever the launcher dies: every container has died with it."""
        while True:
            launcher = self.machine.launcher
            status = await asyncio.shield(launcher.exited)
            if self.stopping.is_set():
                return
            log.error("launcher_lost", extra={"fields": {"status": status}})
            self.machine.lose(launcher)
            await asyncio.to_thread(leftovers.clean_dead_runs, runs_dir)
            try:
                await self.start_runtime(runs_dir)
            except RuntimeFailedError as error:
                self.stop(f"the launcher died: {error}")
                return
            # Whatever was still dying when that was done, and had the lock, is gone by now.
            await asyncio.to_thread(leftovers.clean_dead_runs, runs_dir)

    def _set_capacity(self) -> None:
        mib = self.config.number("memory_limit_mib")
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory_bytes = int(mib) << 20 if mib else int(total * MEMORY_SHARE)
        self.machine.memory_bytes = memory_bytes
        if self.machine.cgroups is not None:
            self.machine.cgroups.limit_all(cgroups_module.Limits(memory_bytes=memory_bytes))
        now = monotonic()
        installed = self.machine.installed.gpus
        self.hub.apply(
            self.hub.scheduler.set_capacity(memory_bytes, CONTAINERS_MAX, now, installed), now
        )

    async def look_for_gpus(self) -> None:
        """Find out which GPUs this machine has; who asks for one waits until then."""
        self.machine.installed = installed = await asyncio.to_thread(self._find_gpus)
        self.gpus_known = True
        if installed.problem:
            self.reasons.append(installed.problem)
        if installed.devices:
            names = [device.name for device in installed.devices]
            log.info("gpus_found", extra={"fields": {"names": names}})
            self._set_capacity()
        for function in list(self.hub.functions.values()):
            self.hub.note_lack(function)

    def gpu_rows(self) -> list[dict[str, Any]]:
        """The GPUs of this machine, and who has them."""
        owners = {
            gpu: container.container_id
            for container in self.hub.scheduler.state.containers.values()
            for gpu in container.gpus
        }
        return gpus.rows(self.machine.installed, owners)

    async def open_kept(self) -> None:
        """Go on with what was deployed, and with what was left unfinished."""
        await self.deployments.open()
        await self.hub.unfinished.open()
        async with self.hub.secrets.key_lock:
            await go_on(self.database)
        Retention(self, self.config.number("result_retention_s")).begin()

    # -- listening

    def accept(self, listener: socket.socket) -> None:
        """Take the connections that wait."""
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            if not _may_connect(sock):
                sock.close()
                continue
            peer = Peer(sock, self.hub.loop, self.hub.outgoing, self._after_events)
            Session(self.hub, peer)

    def _after_events(self) -> None:
        self.hub.after_events()

    def watch_idle(self) -> None:
        """Stop when nothing has run for a while."""
        idle_s = self.config.number("idle_timeout_s")
        state = {"since": monotonic()}

        def look() -> None:
            now = monotonic()
            if self.hub.apps or self.hub.sessions or self.hub.sandboxes.all():
                state["since"] = now
            if now - state["since"] >= idle_s:
                self.stop(f"idle for {idle_s:g} s")
                return
            self.hub.loop.call_later(max(0.05, state["since"] + idle_s - now), look)

        look()


def _may_connect(sock: socket.socket) -> bool:
    """The socket is 0600; this says the same once more, by what the kernel knows of the peer."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(raw[4:8], sys.byteorder)
    return uid in (0, os.geteuid())


def _listen(home: str) -> socket.socket:
    path = os.path.join(home, SOCKET_NAME)
    if os.path.lexists(path):
        os.unlink(path)  # we hold the lock, so whoever made it is gone
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
    finally:
        os.umask(before)
        os.close(directory)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


async def serve(
    config: Config, ready_fd: int | None, find_gpus: Callable[[], gpus.Installed]
) -> None:
    """Run the daemon until it is stopped."""
    home, loop = config.home, asyncio.get_running_loop()
    runs_dir = os.path.join(home, "run")
    os.makedirs(runs_dir, mode=0o700, exist_ok=True)
    async with asyncio.TaskGroup() as group:
        services: Services
        tasks = Tasks(group, lambda: services.hub.after_events())  # noqa: PLW0108  # made below
        services = Services(config, loop, tasks, find_gpus)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, services.stop, f"signal {number}")
        services.gateway = GatewayProcess(services.hub, config)
        listener = _listen(home)
        loop.add_reader(listener, services.accept, listener)
        if ready_fd is not None:
            os.write(ready_fd, b"1")
            os.close(ready_fd)
        cleaned = await loop.run_in_executor(None, leftovers.clean_dead_runs, runs_dir)
        if cleaned:
            log.info("leftovers_removed", extra={"fields": {"runs": cleaned}})
        tasks.start(_compile_sdk(), "compile-sdk")
        try:
            await services.start_runtime(runs_dir)
        except RuntimeFailedError as error:
            raise SystemExit(f"the daemon cannot run anything: {error}") from error
        tasks.start(services.keep_runtime(runs_dir), "keep-runtime")
        tasks.start(services.look_for_gpus(), "look-for-gpus")
        tasks.start(services.gateway.look_at_names(), "look-at-names")
        tasks.start(services.images.open(), "open-images")
        tasks.start(services.open_kept(), "open-kept")
        tasks.start(services.volumes.open(), "open-volumes")
        tasks.start(services.objects.open(), "open-objects")
        # What is here now stays: the collector need not look at it again and again. Garbage in
        # cycles is rare in the hub, so it may look less often.
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS)
        services.watch_idle()
        services.database.watch(loop)
        services.disk.watch()
        services.memory.watch()
        await services.stopping.wait()
        await _shut_down(services, listener, runs_dir)
        tasks.end()


async def _compile_sdk() -> None:
    """See to the byte code of what zygotes run: they see it read-only and cannot keep theirs."""
    package = os.path.dirname(os.path.abspath(volant.__file__))
    if os.access(package, os.W_OK):
        compile_tree = functools.partial(compileall.compile_dir, package, quiet=2)
        await asyncio.get_running_loop().run_in_executor(None, compile_tree)


async def _shut_down(services: Services, listener: socket.socket, runs_dir: str) -> None:
    log.info("stopping", extra={"fields": {"reason": services.stop_reason}})
    services.hub.loop.remove_reader(listener)
    listener.close()
    for app in list(services.hub.apps.values()):
        services.hub.close_app(app, services.stop_reason, keeps_calls=app.detach)
    for session in services.hub.sessions:
        session.event("closing", reason=f"the daemon was stopped: {services.stop_reason}")
    services.hub.after_events()
    await _let_hooks_finish(services)
    await services.sandboxes.files_kept()
    assert services.gateway is not None
    services.gateway.close()
    await services.machine.launcher.close()
    await _let_volumes_be_committed(services)
    services.volumes.close()
    await services.gateway.wait_closed()
    await services.journal.drained()
    services.database.close()
    lock = os.path.join(runs_dir, f"{services.run_id}.lock")
    for path in (lock, os.path.join(services.config.home, SOCKET_NAME)):
        if os.path.lexists(path):
            os.unlink(path)
    for session in list(services.hub.sessions):
        session.peer.close()


async def _let_hooks_finish(services: Services) -> None:
    """Wait for exit hooks of the user's classes, as long as they may take."""
    agent, finished = services.agent, asyncio.Event()
    if agent.is_exiting(None):
        agent.when_exited(None, finished.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_GRACE_S):
                await finished.wait()


async def _let_volumes_be_committed(services: Services) -> None:
    """Wait until what containers have written is committed, however much that is."""
    agent, finished = services.agent, asyncio.Event()
    if agent.volumes.is_committing(None):
        agent.when_exited(None, finished.set)
        await finished.wait()


def _allow_many_files() -> None:
    """A container takes five descriptors here; the usual soft limit of 1024 is soon reached."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(find_gpus: Callable[[], gpus.Installed] = gpus.discover) -> None:
    """Run a daemon in the foreground."""
    parser = argparse.ArgumentParser(prog="volantd", description=__doc__.splitlines()[0])
    parser.add_argument("--ready-fd", type=int, help="descriptor that gets a byte when listening")
    arguments = parser.parse_args()
    config = settings.load()
    os.umask(0o022)  # layers are the same whoever starts it; what is private says so
    os.makedirs(config.home, mode=0o700, exist_ok=True)
    in_background = arguments.ready_fd is not None
    daemon_log.begin(os.path.join(config.home, LOG_NAME) if in_background else None)
    _allow_many_files()
    if not home_lock.take(config.home, PREDECESSOR_S if in_background else 0.0):
        raise SystemExit(f"a daemon runs in {config.home} already")
    if settle(config.home):
        log.info("restore_finished")
    if in_background:
        os.setsid()
        os.chdir("/")
    import uvloop

    uvloop.run(serve(config, arguments.ready_fd, find_gpus))
