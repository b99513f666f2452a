"""Zygotes: one for each version of an app in use, kept for later runs, with spare children.

version known ──► bare zygote (made ahead) ──PREPARE──► ready ──FORK──► container
                                                            └─ forked ahead: spare children
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import OrderedDict, deque
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import (
    DataLossError,
    Error,
    ExecutionError,
    ImageBuildError,
    ResourceExhaustedError,
)
from volant.wire.faults import error_fault
from volantd.agent.bare import PROCESSES_MAX, BareZygotes, Machine, check_trees
from volantd.agent.late.templates import LateTemplates, RefusedError
from volantd.images.redaction import Redacted
from volantd.runtime.client import PrepareFailedError, RuntimeFailedError, UnfitError, Zygote
from volantd.runtime.seat import Leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from volant.config import Config
    from volantd.agent.images import Images
    from volantd.agent.tasks import Tasks
    from volantd.hub.blobs import BlobCache
    from volantd.hub.records import App, Function, Version
    from volantd.hub.secrets.stored import Secrets
    from volantd.runtime.cgroup import Cgroup
    from volantd.runtime.client import ForkedContainer
    from volantd.runtime.sandboxes.sidecars import Beside

log = logging.getLogger(__name__)

#: Quiet time after which children are forked ahead: not while somebody waits for a call.
REFILL_DELAY_S = 0.03
#: Time that the user's import may take.
IMPORT_TIMEOUT_S = 300.0
#: Likewise of a zygote that nobody waits for, with what containers would import.
LATE_TIMEOUT_S = 60.0
#: Open files of one container.
FILES_MAX = 65536
#: Largest file that a container may write, in bytes.
FILE_BYTES_MAX = 64 << 30
READ_BYTES = 64 << 10


class Child:
    """A forked container that waits to be told which function it is.

    `cgroup` is its own from birth, and its own alone after `alone` (None: it always was).
    """

    __slots__ = ("alone", "cgroup", "forked", "forked_ns")

    def __init__(
        self,
        forked: ForkedContainer,
        cgroup: Cgroup | None,
        alone: asyncio.Future[None] | None = None,
    ) -> None:
        self.forked = forked
        self.cgroup = cgroup
        self.alone = alone
        self.forked_ns = monotonic_ns()

    def remove_cgroup(self) -> None:
        """Remove the cgroup once the zygote has left it."""
        cgroup = self.cgroup
        if cgroup is None:
            return
        if self.alone is None:
            Leaves.remove(cgroup)
        else:
            self.alone.add_done_callback(lambda _: Leaves.remove(cgroup))


class Prepared:
    """A zygote with an app version imported."""

    def __init__(
        self, store: ZygoteStore, version: Version, key: str, late: Sequence[str] = ()
    ) -> None:
        self.version = version
        #: what the store knows it by
        self.key = key
        #: what it imports behind the program, because containers of a function would
        self.late = tuple(late)
        #: whether it is made of a bare zygote that has imported nothing
        self.is_plain = False
        self.in_use = 0
        #: whether each container imports the program anew
        self.imports_anew = False
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

    def entry_anew(self) -> dict[str, Any] | None:
        """What its containers have to import themselves."""
        if not self.imports_anew:
            return None
        zygote = self.zygote
        return {**self.version.entry, "root": zygote.source_root, "cwd": zygote.cwd}

    def source_directories(self) -> list[str]:
        """Where its containers see the sources of their program."""
        root = self.zygote.source_root
        return [os.path.join(root, one) if one else root for one in self.version.entry["path"]]

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
        self, config: Config, machine: Machine, blobs: BlobCache, images: Images, tasks: Tasks
    ) -> None:
        self.tasks = tasks
        self.machine = machine
        self.spare_count = int(config.number("spare_containers"))
        #: Hears what the user's imports print: (key of the version, data).
        self.on_output: Callable[[str, bytes], None] = lambda key, data: None
        self.on_note: Callable[[str, str], None] = lambda key, text: None
        #: Completes versions that refer to stored secrets.
        self.secrets: Secrets | None = None
        self._bare = BareZygotes(machine, images, tasks)
        self._blobs = blobs
        self._count_max = int(config.number("zygote_count_max"))
        self._home = config.home
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        #: Those that others have taken the place of, while containers of theirs live.
        self._retired: list[Prepared] = []
        self.late = LateTemplates(self, is_on=bool(config.values["late_imports"]))

    def count(self) -> int:
        """Zygotes that are kept."""
        return len(self._prepared)

    def alive(self) -> list[tuple[str, Zygote]]:
        """Zygotes that run or have run imports, and the keys of their versions, or none."""
        every = self._prepared.values()
        taken = [(one.version.key, getattr(one, "zygote", None)) for one in every]
        alive = [(key, one) for key, one in taken if one is not None and not one.exited.done()]
        return alive + [("", one) for one in self._bare.preloaded()]

    def check(self, app: App) -> None:
        """Refuse an app whose image would show too much.

        Raises:
            InvalidError: naming the directory.
        """
        for function in app.functions.values():
            self.check_image(function.version.image)

    def check_image(self, image: dict[str, Any]) -> None:
        """Refuse an image that would show too much; raises as `check`."""
        if image["kind"] == "host":
            check_trees(image["trees"], self._home)

    def warm(self, app: App) -> None:
        """Begin to prepare the version that an app's calls will need first."""
        for function in app.functions.values():
            if function.version.snapshot is None:  # else its parameters may be missing
                self.tasks.start(self._warm(function.version), "warm-zygote")
                return

    async def _warm(self, version: Version) -> None:
        with contextlib.suppress(PrepareFailedError):  # who needs it is told
            self._find(await self._completed(version))

    async def _completed(self, version: Version) -> Version:
        """A version with what its stored secrets mean now.

        Raises:
            PrepareFailedError: when one is not there.
        """
        if not version.stored or self.secrets is None:
            return version
        try:
            return await self.secrets.resolved(version)
        except Error as error:
            raise PrepareFailedError(error_fault(error)) from error

    async def get_for(self, function: Function) -> Prepared:
        """The zygote that a container of a function is forked from; raises as `get`."""
        self._end_retired()
        version = await self._completed(function.version)
        found = self.late.find(function)
        if found is not None:
            self._prepared.move_to_end(found.key)
            return found
        prepared = await self.get(version)
        if prepared.late and function.options["gpu"]:
            # A module may look for a GPU while it is imported, and a zygote has none.
            prepared = self._find(version, is_plain=True)
            await asyncio.shield(prepared.ready)
        return prepared

    async def get(self, version: Version) -> Prepared:
        """The zygote of a version, prepared when needed.

        Raises:
            PrepareFailedError: the user's import raised, or a secret is not there.
            RuntimeFailedError: there can be no zygote.
        """
        prepared = self._find(await self._completed(version))
        await asyncio.shield(prepared.ready)
        return prepared

    async def try_out(self, version: Version) -> bytes | None:
        """Why no container of a version could start, as a fault for a client; None: it could."""
        try:
            await self.get(version)
        except PrepareFailedError as error:
            return error.fault
        except RuntimeFailedError as error:
            return error_fault(ExecutionError(f"the program cannot be started: {error}"))
        return None

    def _find(self, version: Version, *, is_plain: bool = False) -> Prepared:
        key = f"{version.key} plain" if is_plain else version.key
        prepared = self._prepared.get(key)
        if prepared is None or not prepared.usable:
            prepared = Prepared(self, version, key)
            prepared.is_plain = is_plain
            self._prepared[key] = prepared
            self.tasks.start(self._prepare(prepared), "prepare-zygote")
        self._prepared.move_to_end(key)
        self._evict()
        return prepared

    async def prepare_late(self, version: Version, names: Sequence[str]) -> Prepared:
        """A further zygote of a version, which has imported more.

        Raises:
            RefusedError: one of the names must be left to containers.
            PrepareFailedError, RuntimeFailedError: as `get`; all of them must.
        """
        prepared = Prepared(self, version, ids.new_id("zy"), names)
        self._prepared[prepared.key] = prepared
        await self._prepare(prepared)
        await prepared.ready
        self._evict()
        return prepared

    async def _prepare(self, prepared: Prepared) -> None:
        version = prepared.version
        try:
            files = [
                (path, mode, bytes(await self._blobs.get(digest)))
                for path, mode, digest, _ in version.files
            ]
            await (self._import_late if prepared.late else self._import)(prepared, files)
        except (PrepareFailedError, RuntimeFailedError) as error:
            self._give_up(prepared, error)
            return
        except (ResourceExhaustedError, DataLossError) as error:  # its sources are not here
            self._give_up(prepared, RuntimeFailedError(error.message))
            return
        except Exception as error:
            text = f"its program could not be prepared: {type(error).__name__}, see the log"
            self._give_up(prepared, RuntimeFailedError(text))
            raise
        prepared.ready.set_result(None)
        prepared.refill_later()

    def _give_up(self, prepared: Prepared, error: Exception) -> None:
        self._prepared.pop(prepared.key, None)
        prepared.ready.set_exception(error)
        prepared.ready.exception()  # whoever waits gets it; if nobody does, it is no news
        zygote = getattr(prepared, "zygote", None)
        if zygote is not None:
            zygote.kill()  # it goes on with what the import left, and nobody would know it

    async def _import(self, prepared: Prepared, files: list[tuple[str, int, bytes]]) -> None:
        version = prepared.version
        prepared.zygote = await self._take_bare(version, plain=prepared.is_plain)
        entry = dict(version.entry)
        if not version.imports:
            entry["module"] = None
        snapshot = version.snapshot
        timeout_s = IMPORT_TIMEOUT_S if snapshot is None else snapshot["timeout_s"]
        prepare = partial(
            Zygote.prepare, files=files, entry=entry, env=version.env, timeout_s=timeout_s,
            snapshot=snapshot,
        )  # fmt: skip
        try:
            answer = await prepare(prepared.zygote)
        except UnfitError:
            self._bare.unlearn_late(version, prepared.zygote)
            prepared.zygote.kill()
            prepared.zygote = await self._take_bare(version, plain=True)
            answer = await prepare(prepared.zygote)
        except PrepareFailedError:
            self._bare.expect(version, prepared.zygote)  # the next save may mend it
            raise
        prepared.late = answer["late"]
        if not (answer["threads"] or answer["asks"]):
            self._bare.learn(version, prepared.zygote, answer)
        if answer["threads"] or answer["asks"]:
            # A process with threads cannot be forked safely: its children import for themselves.
            prepared.imports_anew = True
            names = ", ".join(dict.fromkeys(answer["threads"]))
            why = "importing this program uses apps or objects of Volant"
            if names:
                why = f"importing this program starts threads ({names})"
            so = "so every container imports it anew instead of sharing one import"
            self.on_note(version.told_key, f"{why}, {so}")
            await self._prepare_anew(prepared, files, None)
        elif answer["culprits"]:
            assert snapshot is not None
            self.on_note(version.told_key, (
                f"the hooks of enter(snap=True) of `{snapshot['function']['name']}` left "
                f"{', '.join(answer['culprits'])}, which containers cannot share, so each runs "
                "those hooks anew; move it into a hook of enter()"
            ))  # fmt: skip
            await self._prepare_anew(prepared, files, entry)

    async def _import_late(self, prepared: Prepared, files: list[tuple[str, int, bytes]]) -> None:
        version = prepared.version
        prepared.zygote = await self._take_bare(version, plain=True, is_heard=False)
        answer = await prepared.zygote.prepare(
            files, dict(version.entry), version.env, timeout_s=LATE_TIMEOUT_S, late=prepared.late
        )
        if answer["refused"]:
            name, why = answer["refused"]
            raise RefusedError(name, why)
        if answer["threads"] or answer["asks"] or not answer["late"]:
            raise RuntimeFailedError("there is nothing that could be imported before a fork")
        prepared.late = answer["late"]
        if answer["is_whole"]:
            self._bare.learn_late(version, prepared.zygote, prepared.late)

    async def _prepare_anew(
        self, prepared: Prepared, files: list[tuple[str, int, bytes]], entry: dict[str, Any] | None
    ) -> None:
        """Begin again without what cannot be forked."""
        prepared.zygote.kill()
        prepared.late = ()
        version = prepared.version
        prepared.zygote = await self._take_bare(version, plain=True)
        await prepared.zygote.prepare(files, entry, version.env, timeout_s=IMPORT_TIMEOUT_S)

    async def _take_bare(
        self, version: Version, *, plain: bool = False, is_heard: bool = True
    ) -> Zygote:
        say = partial(self.on_output, version.told_key)
        try:
            zygote = await self._bare.take(version, say, plain=plain)
        except ImageBuildError as error:
            fault = error_fault(error)
            raise PrepareFailedError(fault) from error
        self._read_output(zygote, version, is_heard=is_heard)
        return zygote

    def _read_output(self, zygote: Zygote, version: Version, *, is_heard: bool) -> None:
        """Pass on what the user's imports print, unless another zygote has printed it already."""
        loop = asyncio.get_running_loop()
        said = Redacted(partial(self.on_output, version.told_key), version.hidden)

        def on_readable() -> None:
            try:
                data = os.read(zygote.log_fd, READ_BYTES)
            except BlockingIOError:
                return
            if data:
                if is_heard:
                    said(data)
                return
            said.end()
            loop.remove_reader(zygote.log_fd)
            os.close(zygote.log_fd)

        loop.add_reader(zygote.log_fd, on_readable)

    def _evict(self) -> None:
        while len(self._prepared) > self._count_max and self._end_oldest():
            pass

    def evict_oldest(self) -> bool:
        """End a zygote that only waits, first of those that no version has yet; True if so."""
        return self._bare.end_preloaded() or self._end_oldest()

    def _end_oldest(self) -> bool:
        """End the zygote that was used longest ago, of those that no container uses; True if so."""
        for key, prepared in self._prepared.items():
            if not prepared.in_use and prepared.ready.done():
                del self._prepared[key]
                self._close(prepared)
                return True
        return False

    def keeps(self, prepared: Prepared) -> bool:
        """Whether containers may still be forked from a zygote."""
        return prepared.usable and self._prepared.get(prepared.key) is prepared

    def retire(self, prepared: Prepared) -> None:
        """End a zygote as soon as no container uses it: no further one will."""
        self._retired.append(prepared)
        self._end_retired()

    def _end_retired(self) -> None:
        for prepared in [one for one in self._retired if not one.in_use]:
            self._retired.remove(prepared)
            if self._prepared.pop(prepared.key, None) is not None:
                self._close(prepared)

    def _close(self, prepared: Prepared) -> None:
        """End a zygote and its spare children."""
        for child in prepared.spares:
            self.discard(child)
        prepared.spares.clear()
        if prepared.ready.exception() is None:
            prepared.zygote.kill()

    # -- children

    async def fork(self, zygote: Zygote, beside: Beside | None = None) -> Child:
        """Fork a child into a cgroup of its own, perhaps beside another one.

        Raises:
            RuntimeFailedError: when that does not work.
        """
        forked = await zygote.fork(ids.new_id("ta"), limits=limits_of(zygote), beside=beside)
        if forked.place is None:
            return Child(forked, None)
        return Child(forked, forked.place.cgroup, forked.place.alone)

    def discard(self, child: Child) -> None:
        """End a child that was never used."""
        forked = child.forked
        forked.kill()
        forked.channel.close()
        forked.sdk.close()
        os.close(forked.stdout_fd)
        os.close(forked.stderr_fd)
        child.remove_cgroup()


def limits_of(zygote: Zygote) -> dict[str, int]:
    """What the processes of a zygote's containers are held to one by one."""
    limits = {"files": FILES_MAX, "file_size_bytes": FILE_BYTES_MAX}
    if zygote.spec.leaves is None:
        limits["processes"] = PROCESSES_MAX
    return limits
