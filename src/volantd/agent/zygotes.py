"""Zygotes: one for each version of an app in use, kept for later runs, with spares.

    version known ──► bare zygote (booted ahead) ──PREPARE──► ready ──FORK──► container
                                                                └─ forked ahead: spare children

A bare zygote has booted its interpreter for an image and knows no app. So the first call of a
changed script pays for the user's own imports and little else.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
from collections import OrderedDict, deque
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import volant
from volant import ids
from volant.errors import InvalidError
from volantd.runtime import cgroup as cgroups_module
from volantd.runtime.client import PrepareFailedError, RuntimeFailedError, ZygoteSpec

if TYPE_CHECKING:
    from volant.config import Config
    from volantd.agent.tasks import Tasks
    from volantd.hub.records import App, Version
    from volantd.hub.requests import BlobCache
    from volantd.runtime.cgroup import Cgroup, Cgroups
    from volantd.runtime.client import ForkedContainer, Launcher, Zygote

log = logging.getLogger(__name__)

#: Quiet time after which children are forked ahead: not while somebody waits for a call.
REFILL_DELAY_S = 0.03
#: Likewise for booting a bare zygote.
BARE_DELAY_S = 0.3
#: Time that the user's import may take.
IMPORT_TIMEOUT_S = 300.0
#: Processes and threads of one container.
PROCESSES_MAX = 4096
#: Open files of one container.
FILES_MAX = 65536
#: Largest file that a container may write, in bytes.
FILE_BYTES_MAX = 64 << 30
_SYSTEM_TREES = ("/usr",)


class Child:
    """A forked container that waits to be told which function it is."""

    __slots__ = ("cgroup", "forked", "forked_ns")

    def __init__(self, forked: ForkedContainer, cgroup: Cgroup | None) -> None:
        self.forked = forked
        self.cgroup = cgroup
        self.forked_ns = monotonic_ns()


class Prepared:
    """A zygote with an app version imported."""

    def __init__(self, store: ZygoteStore, version: Version) -> None:
        self.version = version
        self.in_use = 0
        self.import_us = 0
        #: threads that the import left; then each container imports anew
        self.threads: list[str] = []
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.spares: deque[Child] = deque()
        self.zygote: Zygote
        self._store = store
        self._refilling = False

    @property
    def usable(self) -> bool:
        """False once it has failed or died."""
        if not self.ready.done():
            return True
        return self.ready.exception() is None and not self.zygote.exited.done()

    async def child(self) -> Child:
        """A forked child: one that waits, or a new one.

        Raises:
            RuntimeFailedError: when it cannot be forked.
        """
        while self.spares:
            child = self.spares.popleft()
            if not child.forked.exited.done():
                self.refill_later()
                return child
            self._store.discard(child)
        child = await self._store.fork(self.zygote)
        self.refill_later()
        return child

    def refill_later(self) -> None:
        """Fork ahead again when it has been quiet for a moment."""
        if not self._refilling and self._store.spare_count:
            self._refilling = True
            asyncio.get_running_loop().call_later(REFILL_DELAY_S, self._refill)

    def _refill(self) -> None:
        self._store.tasks.start(self._fork_spares(), "fork-spares")

    async def _fork_spares(self) -> None:
        try:
            while self.usable and len(self.spares) < self._store.spare_count:
                self.spares.append(await self._store.fork(self.zygote))
        except RuntimeFailedError as error:
            log.warning("spare_failed", extra={"fields": {"error": str(error)}})
        finally:
            self._refilling = False


class ZygoteStore:
    """All zygotes of this machine."""

    def __init__(
        self, config: Config, blobs: BlobCache, tasks: Tasks, rung: asyncio.Future[str]
    ) -> None:
        self.tasks = tasks
        self.spare_count = int(config.number("spare_containers"))
        self.launcher: Launcher
        self.cgroups: Cgroups | None = None
        self.default_memory_bytes = 0
        self._rung = rung
        self._count_max = int(config.number("zygote_count_max"))
        self._home = config.home
        self._blobs = blobs
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self._bare: dict[str, asyncio.Future[Zygote]] = {}
        self._arrived: dict[str, asyncio.Future[None]] = {}

    def count(self) -> int:
        """Zygotes that are kept."""
        return len(self._prepared)

    # -- versions

    def warm(self, app: App) -> None:
        """Begin to prepare the version that an app's calls will need first."""
        for function in app.functions.values():
            check_trees(function.version.image["trees"], self._home)
        if app.missing:
            self._arrived[app.app_id] = asyncio.get_running_loop().create_future()
        for version in {f.version.key: f.version for f in app.functions.values()}.values():
            self._find(version, app)
            return

    def sources_arrived(self, app: App) -> None:
        """Every source file of an app is here."""
        future = self._arrived.pop(app.app_id, None)
        if future is not None and not future.done():
            future.set_result(None)

    async def get(self, version: Version, app: App) -> Prepared:
        """The zygote of a version, prepared when needed.

        Raises:
            PrepareFailedError: the user's import raised.
            RuntimeFailedError: there can be no zygote.
        """
        prepared = self._find(version, app)
        await asyncio.shield(prepared.ready)
        return prepared

    def _find(self, version: Version, app: App) -> Prepared:
        prepared = self._prepared.get(version.key)
        if prepared is None or not prepared.usable:
            prepared = Prepared(self, version)
            self._prepared[version.key] = prepared
            self.tasks.start(self._prepare(prepared, app), "prepare-zygote")
        self._prepared.move_to_end(version.key)
        self._evict()
        return prepared

    async def _prepare(self, prepared: Prepared, app: App) -> None:
        version = prepared.version
        try:
            arrived = self._arrived.get(app.app_id)
            if arrived is not None:
                await asyncio.shield(arrived)
            files = [
                (path, mode, self._blobs.get(digest)) for path, mode, digest, _ in version.files
            ]
            await self._import(prepared, files)
        except (PrepareFailedError, RuntimeFailedError, OSError, KeyError) as error:
            self._prepared.pop(version.key, None)
            if not isinstance(error, (PrepareFailedError, RuntimeFailedError)):
                error = RuntimeFailedError(f"{type(error).__name__}: {error}")
            prepared.ready.set_exception(error)
            prepared.ready.exception()  # whoever waits gets it; if nobody does, it is no news
            return
        prepared.ready.set_result(None)
        prepared.refill_later()

    async def _import(self, prepared: Prepared, files: list[tuple[str, int, bytes]]) -> None:
        version = prepared.version
        prepared.zygote = await self._take_bare(version)
        entry = dict(version.entry)
        answer = await prepared.zygote.prepare(
            files, entry, version.env, timeout_s=IMPORT_TIMEOUT_S
        )
        prepared.import_us = answer["import_us"]
        if answer["threads"]:
            # A process with threads cannot be forked safely: its children import for themselves.
            prepared.threads = answer["threads"]
            prepared.zygote.kill()
            prepared.zygote = await self._take_bare(version)
            await prepared.zygote.prepare(files, None, version.env, timeout_s=IMPORT_TIMEOUT_S)

    def _evict(self) -> None:
        for key, prepared in list(self._prepared.items()):
            if len(self._prepared) <= self._count_max:
                return
            if not prepared.in_use and prepared.ready.done():
                del self._prepared[key]
                self.close(prepared)

    def close(self, prepared: Prepared) -> None:
        """End a zygote and its spare children."""
        for child in prepared.spares:
            self.discard(child)
        prepared.spares.clear()
        if prepared.ready.done() and prepared.ready.exception() is None:
            prepared.zygote.kill()

    # -- bare zygotes

    async def _take_bare(self, version: Version) -> Zygote:
        rung = await asyncio.shield(self._rung)
        spec = zygote_spec(version, rung)
        key = repr((spec.python, spec.trees, spec.block_network, sorted(spec.env.items())))
        waiting = self._bare.pop(key, None)
        zygote = None
        if waiting is not None:
            zygote = await waiting
            if zygote.exited.done():
                zygote = None
        if zygote is None:
            zygote = await self._spawn(spec)
        asyncio.get_running_loop().call_later(BARE_DELAY_S, self._boot_bare, key, spec)
        return zygote

    def _boot_bare(self, key: str, spec: ZygoteSpec) -> None:
        if key not in self._bare:
            self._bare = {key: self._bare[key]} if key in self._bare else {}
            future: asyncio.Future[Zygote] = asyncio.get_running_loop().create_future()
            self._bare[key] = future
            self.tasks.start(self._fill_bare(key, spec, future), "boot-zygote")

    async def _fill_bare(self, key: str, spec: ZygoteSpec, future: asyncio.Future[Zygote]) -> None:
        try:
            future.set_result(await self._spawn(spec))
        except RuntimeFailedError as error:
            self._bare.pop(key, None)
            future.set_exception(error)
            future.exception()

    async def _spawn(self, spec: ZygoteSpec) -> Zygote:
        zygote = await self.launcher.spawn_zygote(spec, ids.new_id("zy"))
        self._read_log(zygote)
        return zygote

    def _read_log(self, zygote: Zygote) -> None:
        """Pass on what a zygote prints while it imports, to the daemon's log."""
        loop = asyncio.get_running_loop()

        def on_readable() -> None:
            try:
                data = os.read(zygote.log_fd, 65536)
            except BlockingIOError:
                return
            if not data:
                loop.remove_reader(zygote.log_fd)
                os.close(zygote.log_fd)
                return
            text = data.decode("utf-8", "replace")
            log.info("zygote_output", extra={"fields": {"zygote": zygote.zygote_id, "text": text}})

        loop.add_reader(zygote.log_fd, on_readable)

    # -- children

    async def fork(self, zygote: Zygote) -> Child:
        """Fork a child into a cgroup of its own."""
        name = ids.new_id("ta")
        cgroup = self._cgroup()
        try:
            forked = await zygote.fork(
                name, hostname=name[:15], cgroup=cgroup,
                limits={"files": FILES_MAX, "file_size_bytes": FILE_BYTES_MAX},
            )  # fmt: skip
        except RuntimeFailedError:
            if cgroup is not None:
                asyncio.get_running_loop().run_in_executor(None, cgroup.remove)
            raise
        return Child(forked, cgroup)

    def _cgroup(self) -> Cgroup | None:
        if self.cgroups is None:
            return None
        limits = cgroups_module.Limits(
            memory_bytes=self.default_memory_bytes, process_count=PROCESSES_MAX
        )
        return self.cgroups.take(limits)

    def discard(self, child: Child) -> None:
        """End a child that was never used."""
        forked = child.forked
        forked.kill()
        forked.channel.close()
        forked.sdk.close()
        os.close(forked.stdout_fd)
        os.close(forked.stderr_fd)
        if child.cgroup is not None:
            asyncio.get_running_loop().run_in_executor(None, child.cgroup.remove)


def zygote_spec(version: Version, rung: str) -> ZygoteSpec:
    """What the runtime needs to know of a version's image."""
    image = version.image
    cloudpickle = importlib.util.find_spec("cloudpickle")
    assert cloudpickle is not None and cloudpickle.submodule_search_locations is not None
    trees = [tree for tree in _SYSTEM_TREES if os.path.isdir(tree)]
    return ZygoteSpec(
        rung=rung,
        python=str(image["python"]),
        trees=(*trees, *map(str, image["trees"])),
        sdk_dir=os.path.dirname(os.path.dirname(os.path.abspath(volant.__file__))),
        cloudpickle_dir=str(next(iter(cloudpickle.submodule_search_locations))),
        env=_base_environment(image),
        block_network=version.block_network,
    )


def _base_environment(image: dict[str, Any]) -> dict[str, str]:
    prefix, base = str(image["prefix"]), str(image["base_prefix"])
    directories = [f"{prefix}/bin", f"{base}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
    env = {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": ":".join(dict.fromkeys(directories)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "0",
        "VOLANT_IS_REMOTE": "1",
    }
    if prefix != base:
        env["VIRTUAL_ENV"] = prefix
    return env


def check_trees(trees: list[str], home: str) -> None:
    """Refuse directories that would show a container what it must not see.

    Raises:
        InvalidError: for `/`, a home directory, or a directory that holds Volant's own.
    """
    forbidden = {"/", "/home", "/root", os.path.expanduser("~"), "/etc", "/var", "/run", "/proc"}
    for tree in trees:
        path = os.path.normpath(str(tree))
        if path in forbidden or home == path or home.startswith(path + "/"):
            raise InvalidError(
                f"a container cannot be shown {path}: it holds private files",
                hint="use a virtual environment below a directory of its own",
            )
