"""The images of this machine: built when a zygote needs one, by processes of the launcher.

It owns the store, keeps it within its limit, and never removes what runs, is being built or has a
name. Everything else about images waits until the store is open, which it is soon after the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import Error, ImageBuildError, InvalidError, NotFoundError
from volantd import patience
from volantd.agent.bare import PROCESSES_MAX
from volantd.agent.written import Writer
from volantd.images import described
from volantd.images.builder import Builder, Built
from volantd.images.catalogue import Catalogue
from volantd.images.kept import shelf
from volantd.images.kept.books import wall_clock
from volantd.images.keys import image_id
from volantd.images.steps.lookup import published
from volantd.images.store import Store
from volantd.images.workbench import Brought
from volantd.runtime.cgroup import Limits
from volantd.runtime.client import RuntimeFailedError, StepSpec
from volantd.runtime.seat import Leaves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from volant.config import Config
    from volantd.agent.bare import Machine
    from volantd.agent.tasks import Tasks
    from volantd.hub.blobs import BlobCache
    from volantd.hub.records import App, Version
    from volantd.hub.secrets.stored import Secrets
    from volantd.images.builder import OnStep
    from volantd.images.kept.caches import Cache
    from volantd.images.workbench import Command, Say, Workbench
    from volantd.runtime.cgroup import Cgroup
    from volantd.runtime.client import Step

log = logging.getLogger(__name__)

READ_BYTES = 64 << 10
#: The share of its file system that the store may fill when no setting says how much.
DISK_SHARE = 0.25
#: Between two looks whether layers that nobody needs are still in use.
SWEEP_EVERY_S = 10.0
#: Caches are measured when so much time has passed since a build: until then its image is started.
MEASURED_AFTER_S = 30.0
#: What was used a moment ago is not evicted: somebody is about to run it, or to build on it.
JUST_USED_S = 60.0


class Images:
    """Builds images, knows where they lie, and removes what is not needed any more.

    Attributes:
        opened: done once the store can be used, or cannot be.
        apps: gives the apps that run.
    """

    def __init__(self, config: Config, machine: Machine, blobs: BlobCache, tasks: Tasks) -> None:
        self._machine = machine
        self._tasks = tasks
        self._home = config.home
        self._limit_mib = int(config.number("image_store_limit_mib"))
        self.store = Store(config.home)
        self.builder = Builder(self.store, self._run, blobs.get, config.values)
        self.catalogue = Catalogue(self.store, self.builder)
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.apps: Callable[[], Iterable[App]] = tuple
        self.add_users: Callable[[dict[str, list[str]]], None] = lambda found: None
        #: Completes what steps are given with what is stored.
        self.secrets: Secrets | None = None
        #: running commands of steps by the place that they fill
        self._steps: dict[str, Step] = {}
        self._held: Counter[str] = Counter()
        #: builds that somebody waits for, with the keys of their images
        self._wanted: dict[asyncio.Future[Built], str] = {}
        self._cleaning: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Open the store; to be called once, when nothing of a killed daemon runs any more."""
        try:
            await asyncio.to_thread(self.store.open)
        except (OSError, ValueError) as error:
            log.exception("images_unusable", extra={"fields": {"error": str(error)}})
            self.opened.set_exception(_unusable(error))
            self.opened.exception()  # whoever asks gets it
            return
        self.opened.set_result(None)
        await self._clean(just_used_s=0.0)

    # -- building

    async def get(self, version: Version, say: Say, on_step: OnStep | None = None) -> Built:
        """The image of a version, built when it is not here.

        It may be removed as soon as the caller waits for something else; see `use`. Who hears
        what is as for `Builder.build`.

        Raises:
            ImageBuildError: when a step fails, or this machine cannot build.
        """
        if await asyncio.shield(self._machine.rung) != "container":
            raise ImageBuildError(
                "images need containers, and this daemon runs functions as plain processes",
                hint="`volant server status` says what this machine lacks for containers; "
                "Image.host() works without",
            )
        await asyncio.shield(self.opened)
        built_before = len(self.store.books.entries), self.store.total_bytes
        image, key = version.image, version.image[described.KEY]
        ended = ImageBuildError(
            f"building image {image_id(key)}: the app that wanted it has ended",
            image_id=image_id(key),
        )
        if key not in self.users():
            raise ended
        try:
            secrets = image["secrets"]
            if self.secrets is not None:
                secrets = await self.secrets.of_steps(
                    image.get("stored", {}), secrets, version.environment
                )
        except Error as error:
            raise ImageBuildError(
                f"building image {image_id(key)}: {error.message}",
                hint=error.hint,
                image_id=image_id(key),
            ) from error
        calls, wish = image.get("calls", {}), image.get(described.ASKED_BY, "")
        brought = Brought(
            calls=calls, files=version.files, entry=version.entry, all_secrets=secrets
        )
        building = asyncio.ensure_future(
            self.builder.build(described.steps(image), say, brought, wish, on_step)
        )
        self._wanted[building] = key
        try:
            return await building
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            raise ended from None
        except (OSError, ValueError) as error:  # a full disk, or a store that somebody changed
            raise _unusable(error) from error
        finally:
            del self._wanted[building]
            if (len(self.store.books.entries), self.store.total_bytes) != built_before:
                self._tasks.start(self._clean(), "clean-images")

    def end_unwanted(self) -> None:
        """End the builds of images that no app which runs has; what of them is built stays."""
        wanted = self.users()
        for building, key in self._wanted.items():
            if key not in wanted:
                building.cancel()

    @contextlib.asynccontextmanager
    async def use(
        self, version: Version, say: Say, on_step: OnStep | None = None
    ) -> AsyncIterator[Built]:
        """`get`, for a block in which nothing removes the image: until something runs on it.

        Raises:
            ImageBuildError: as `get`.
        """
        key = version.image[described.KEY]
        self._held[key] += 1
        try:
            yield await self.get(version, say, on_step)
        finally:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]

    def settle(
        self, images: list[dict[str, Any]], asked_by: str, prefix_of: Callable[[str | None], str]
    ) -> bool:
        """Look up what checked images of a client begin with, for good; they are changed in place.

        Args:
            images: as they are described.
            asked_by: what tells this wish for them from others.
            prefix_of: what names of an environment begin with in the store; None for the one
                that is meant where none is said.

        Returns:
            False while that cannot be told: the store is not open yet.

        Raises:
            NotFoundError: when there is no such image.
            InvalidError: when the beginning of an id fits several.
            ImageBuildError: when the store cannot be used.
        """
        if any(map(described.is_looked_up, images)):
            if not self.opened.done():
                return False
            self.opened.result()
        for image in images:
            base = image["steps"][0] if described.is_looked_up(image) else None
            key = None if base is None else self._look_up(base, prefix_of)
            described.settle(image, key, asked_by)
        return True

    def _look_up(self, base: dict[str, Any], prefix_of: Callable[[str | None], str]) -> str:
        if base["kind"] == "name":
            return self.key_of_name(published(base), prefix_of(base.get("environment")))
        return base["key"] if "key" in base else self.key_of_id(base["image_id"])

    async def _run(self, command: Command, say: Say) -> int:
        """Run a step to its end; its exit code, as a shell would tell it."""
        leaves = self._machine.leaves
        try:
            cgroup = None if leaves is None else await _own_leaf(leaves)
            spec = StepSpec(
                layers=command.layers, output=command.output, argv=command.argv, env=command.env,
                cwd=command.cwd, shared=command.shared, readable=command.readable, cgroup=cgroup,
                volumes=command.mounts, limits={} if cgroup else self._rlimits(command),
            )  # fmt: skip
            try:
                if cgroup is not None and (command.memory_mib or command.cpu_count):
                    await patience.on_thread(cgroup.limit, self._limits(command))
                step = await self._spawned(spec)
                self._steps[command.output] = step
                return await _follow(step, say, command.timeout_s)
            finally:
                self._steps.pop(command.output, None)
                if cgroup is not None:
                    Leaves.remove(cgroup)
        except (OSError, RuntimeFailedError) as error:
            raise ImageBuildError(f"a build step could not be started: {error}") from error

    async def _spawned(self, spec: StepSpec) -> Step:
        """Start a step; cancelled meanwhile, it is killed."""
        spawning = asyncio.ensure_future(self._machine.launcher.spawn_step(spec, ids.new_id("bs")))
        try:
            return await asyncio.shield(spawning)
        except asyncio.CancelledError:
            with contextlib.suppress(RuntimeFailedError):
                await _end(await spawning)
            raise

    def _limits(self, command: Command) -> Limits:
        return Limits(memory_bytes=self._memory_bytes(command), cpu_count=command.cpu_count)

    def _rlimits(self, command: Command) -> dict[str, int]:
        """What is left of the limits of a step where there are no cgroups."""
        limits = {"processes": PROCESSES_MAX}
        memory_bytes = self._memory_bytes(command)
        if memory_bytes is not None:
            limits["memory_bytes"] = limits["file_size_bytes"] = memory_bytes
        return limits

    def _memory_bytes(self, command: Command) -> int | None:
        if command.memory_mib is None:
            return None
        return min(self._machine.memory_bytes, int(command.memory_mib * (1 << 20)))

    def writers(self) -> list[tuple[Writer, Callable[[str, int], None]]]:
        """What steps are filling now, for the disk guard, and how to end each."""
        found: list[tuple[Writer, Callable[[str, int], None]]] = []
        for bench in self.builder.benches.values():
            for place in list(bench.places):
                step = self._steps.get(place)
                pid, more = (0, ()) if step is None else (step.pid, step.views)
                writer = Writer(path=place, pid=pid, more=more)
                found.append((writer, partial(self._end_step, bench)))
        return found

    def _end_step(self, bench: Workbench, why: str, size: int) -> None:
        bench.stop(f"{why} and this step had written the most ({size >> 20} MiB)")
        log.warning("disk_nearly_full", extra={"fields": {
            "image_id": image_id(bench.key), "bytes": size,
        }})  # fmt: skip
        for place in list(bench.places):
            step = self._steps.get(place)
            if step is not None:
                step.kill()

    # -- looking up

    def key_of_id(self, wanted: str) -> str:
        """The key of an image that is here, by its id or the beginning of one.

        Raises:
            NotFoundError: when there is none.
            InvalidError: when there are several.
        """
        entries = self.store.books.entries
        found = [key for key in self.catalogue.find(wanted) if key in entries]
        return self.only(wanted, found)

    def only(self, wanted: str, keys: list[str]) -> str:
        """The one key that is meant.

        Raises:
            NotFoundError: when there is none.
            InvalidError: when there are several.
        """
        if len(keys) == 1:
            return keys[0]
        shown = ", ".join(sorted(map(image_id, keys))[:4])
        if keys:
            raise InvalidError(
                f"the ids of {len(keys)} images begin with {wanted!r}", hint=f"they are {shown}"
            )
        raise NotFoundError(
            f"there is no image {wanted[:200]!r}", hint="`volant image list` shows all"
        )

    def key_of_name(self, name: str, prefix: str) -> str:
        """The key of a published image; `prefix`: what names of its environment begin with.

        Raises:
            NotFoundError: when there is none of this name and tag.
        """
        key = self.store.names.key_of(prefix + name)
        if key is None:
            raise NotFoundError(
                f"no image is published as {name!r}",
                hint="`volant image names list` shows all names",
            )
        return key

    def users(self) -> dict[str, list[str]]:
        """Keys of the images of apps that run, with the names of these apps."""
        found: dict[str, list[str]] = {}
        for app in self.apps():
            for image in app.images if app.state != "stopped" else ():
                if image["kind"] != "host":
                    names = found.setdefault(image[described.KEY], [])
                    if app.name not in names:
                        names.append(app.name)
        self.add_users(found)
        return found

    # -- making room

    @property
    def limit_bytes(self) -> int:
        """What the store may take up."""
        if self._limit_mib:
            return self._limit_mib << 20
        status = os.statvfs(self._home)
        return int(status.f_blocks * status.f_frsize * DISK_SHARE)

    async def _clean(self, just_used_s: float = JUST_USED_S) -> None:
        """Remove what is too much, and what nobody needs any more."""
        excess = self.store.total_bytes - self.limit_bytes
        before = wall_clock() - just_used_s
        caches = {} if self.builder.benches else self.store.caches.all()
        for key in self._to_remove(
            excess_bytes=excess, before=before, names_stay=True, caches=caches
        ):
            if key in caches:
                log.info("cache_evicted", extra={"fields": {"cache": caches[key].name}})
                self.store.clear_cache(key)
            else:
                log.info("image_evicted", extra={"fields": {"image_id": image_id(key)}})
                self.store.books.forget(key)
        self.sweep()
        if self.store.total_bytes > self.limit_bytes:
            self._clean_again(JUST_USED_S)
        elif not self.store.caches.is_measured:
            self._clean_again(MEASURED_AFTER_S)
        try:
            await asyncio.to_thread(self.store.empty_trash)
        except OSError as error:
            log.warning("images_not_removed", extra={"fields": {"error": str(error)}})
        if not self.builder.benches:
            try:
                await asyncio.to_thread(self.store.unsettled.settle)
            except OSError as error:
                log.warning("images_not_settled", extra={"fields": {"error": str(error)}})

    async def measure(self) -> None:
        """Measure what caches have become, unless steps are being built: these fill them."""
        if not self.builder.benches and not self.store.caches.is_measured:
            await asyncio.to_thread(self.store.caches.measure)

    def caches_to_prune(self, before: float) -> dict[str, Cache]:
        """The caches that no step has used since some time, by id; none while steps are built."""
        if self.builder.benches:
            return {}
        caches = self.store.caches.all()
        return {one: cache for one, cache in caches.items() if cache.used_at < before}

    def to_prune(self, *, before: float, names_stay: bool) -> list[str]:
        """The images that nothing uses, last used before a time; those with a name if told to."""
        return self._to_remove(excess_bytes=float("inf"), before=before, names_stay=names_stay)

    def _to_remove(
        self, *, excess_bytes: float, names_stay: bool, before: float,
        caches: Mapping[str, Cache] | None = None,
    ) -> list[str]:  # fmt: skip
        """Keys of images and ids of caches, in the order in which they have to go."""
        if excess_bytes <= 0:
            return []
        books, running = self.store.books, self._machine.launcher.layers_in_use()
        protected = self.builder.protected() | self.users().keys() | self._held.keys()
        if names_stay:
            protected |= {one.key for one in self.store.names.all().values()}
        images = {}
        for key, entry in books.entries.items():
            paths = tuple(map(self.store.layer_path, entry.record.layers))
            images[key] = shelf.Kept(
                parent=entry.parent, layers=entry.record.layers, used_at=books.used_at(key),
                is_protected=key in protected or paths in running,
            )  # fmt: skip
        sizes = dict(self.store.sizes)
        for one, cache in (caches or {}).items():  # each as an image that has a layer of its own
            images[one] = shelf.Kept(parent=None, layers=(one,), used_at=cache.used_at)
            sizes[one] = cache.size_bytes
        return shelf.to_remove(images, sizes, excess_bytes=excess_bytes, before=before)

    def sweep(self) -> None:
        """Set aside the layers that no image has; later those that something still runs on."""
        in_use = {path for paths in self._machine.launcher.layers_in_use() for path in paths}
        if self.store.sweep(in_use, self.builder.oldest()):
            self._clean_again(SWEEP_EVERY_S)

    async def _measure_and_clean(self) -> None:
        await self.measure()
        await self._clean()

    def _clean_again(self, delay_s: float) -> None:
        def begin() -> None:
            self._cleaning = None
            self._tasks.start(self._measure_and_clean(), "clean-images")

        if self._cleaning is None:
            self._cleaning = asyncio.get_running_loop().call_later(delay_s, begin)


def _unusable(error: Exception) -> ImageBuildError:
    return ImageBuildError(f"the images of this daemon cannot be used: {error}")


def _is_cancelled() -> bool:
    """Whether it is the task that runs which was cancelled, not one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _own_leaf(leaves: Leaves) -> Cgroup:
    """A fresh cgroup; cancelled meanwhile, none is left."""
    making = leaves.make()
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        Leaves.remove(await making)
        raise


async def _end(step: Step) -> None:
    """Kill a step, and wait until nothing of it is left: somebody may remove what it writes to."""
    step.kill()
    await patience.ended(step.exited)
    asyncio.get_running_loop().remove_reader(step.log_fd)
    os.close(step.log_fd)


async def _follow(step: Step, say: Say, timeout_s: float) -> int:
    """Pass on what a step prints until it and everything that it started is gone."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def read() -> None:
        try:
            data = os.read(step.log_fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            say(data)
        elif not ended.done():
            loop.remove_reader(step.log_fd)
            ended.set_result(None)

    loop.add_reader(step.log_fd, read)
    try:
        async with asyncio.timeout(timeout_s):
            status = await asyncio.shield(step.exited)
            await ended  # all writers are dead, so this comes
    except TimeoutError:
        raise ImageBuildError(f"a build step took longer than {timeout_s:g} s") from None
    finally:
        await _end(step)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
