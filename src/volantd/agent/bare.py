"""Bare zygotes: interpreters booted for an image that know no app yet.

One is kept ahead for each image in use, so that the first call of a changed script does not
wait for an interpreter to start. For programs that import much another one is kept ahead, which has
imported already what the last version began with: the next version is likely to begin the same.

    take(version) ─► preloaded for entry, environment, image? else: ahead for the image? else: boot
    learn(version, ...) ─► quiet for a moment ─► boot, PRELOAD ─► kept for the next version

Each has a cgroup of its own: what a module does while it is
imported is limited like everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import logging
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import InvalidError
from volant.wire import values
from volantd.agent.gpus import Installed
from volantd.images.workbench import PATH as IMAGE_PATH
from volantd.lent import package_dir, under_all_names
from volantd.runtime import cgroup as cgroups_module
from volantd.runtime.client import Prelude, RuntimeFailedError, ZygoteSpec
from volantd.runtime.seat import Leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.images import Images
    from volantd.agent.tasks import Tasks
    from volantd.hub.records import Version
    from volantd.images.builder import Built
    from volantd.runtime.cgroup import Cgroup, Cgroups
    from volantd.runtime.client import Launcher, Zygote

log = logging.getLogger(__name__)

#: Quiet time after which one is booted ahead: not while somebody waits for a call.
BOOT_DELAY_S = 0.3
#: Images for which one is kept ahead.
IMAGES_MAX = 2
#: Programs for which a preloaded one is kept: each holds the memory of what it has imported, 30 to
#: 60 MB for a web framework. Below the reserve of memory they are the first to go.
PRELOADED_MAX = 2
#: Programs of which it is known what they begin with.
PRELUDES_MAX = 64
#: Names that functions of a program begin with importing, as many as are imported ahead.
LATE_MAX = 100
#: Time that imports ahead may take; somebody may wait for them by then.
PRELOAD_TIMEOUT_S = 20.0
#: Processes and threads of one container or zygote.
PROCESSES_MAX = 4096
#: Cores that a function asks for when it does not say.
CPU_DEFAULT = 0.125
#: The prelude of a program that was not learnt yet.
_UNKNOWN = Prelude(modules=(), web=(), env={})
_SYSTEM_TREES = ("/usr",)
_ENVIRONMENT = {"HOME": "/root", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
_MARKS = {
    "VOLANT_IS_REMOTE": "1", "VOLANT_REGION": "local", "VOLANT_CLOUD_PROVIDER": "local",
}  # fmt: skip


class Machine:
    """What this machine gives to containers; known once the launcher is up."""

    def __init__(self) -> None:
        self.launcher: Launcher
        self.cgroups: Cgroups | None = None
        self.memory_bytes = 0
        self.installed = Installed()
        #: What web functions are lent, in one directory; there once a rung is.
        self.lent_dir = ""
        self._leaves = Leaves(self._make_leaf)
        #: Rung of the isolation ladder; pending while there is no launcher.
        self.rung: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def lose(self, launcher: Launcher) -> None:
        """Note that a launcher is gone: whoever needs one waits for the next."""
        if self.launcher is launcher and self.rung.done():
            self.rung = asyncio.get_running_loop().create_future()

    @property
    def leaves(self) -> Leaves | None:
        """Fresh cgroups with the limits that everything has; None where there are none."""
        return None if self.cgroups is None else self._leaves

    def _make_leaf(self) -> Cgroup:
        assert self.cgroups is not None
        limits = cgroups_module.Limits(
            memory_bytes=self.memory_bytes, process_count=PROCESSES_MAX, cpu_request=CPU_DEFAULT
        )
        leaf = self.cgroups.create()
        leaf.limit(limits)
        return leaf


class BareZygotes:
    """Boots zygotes, and keeps some ahead for images and for programs in use."""

    def __init__(self, machine: Machine, images: Images, tasks: Tasks) -> None:
        self._machine = machine
        self._images = images
        self._tasks = tasks
        self._ahead: OrderedDict[str, asyncio.Future[Zygote]] = OrderedDict()
        self._preloaded: OrderedDict[str, asyncio.Future[Zygote]] = OrderedDict()
        #: What programs begin with, by what they are besides their sources; None: not to be tried.
        self._preludes: OrderedDict[str, Prelude | None] = OrderedDict()
        #: What functions of these programs begin with, by the same.
        self._late: OrderedDict[str, Prelude] = OrderedDict()

    async def take(
        self, version: Version, say: Callable[[bytes], None], *, plain: bool = False
    ) -> Zygote:
        """A zygote for the image of a version.

        Args:
            version: what the zygote is for.
            say: hears what is printed while the image is built.
            plain: it is to have imported nothing.

        Raises:
            ImageBuildError: when the image cannot be built, or has no Python.
            RuntimeFailedError: when none can be booted.
        """
        rung = await asyncio.shield(self._machine.rung)
        wanted = None if plain or not version.imports else version
        if version.image["kind"] == "host":
            spec = zygote_spec(
                version.image, rung, self._machine.lent_dir, block_network=version.block_network
            )
            return await self._take(spec, wanted)
        async with self._images.use(version, say) as built:
            spec = built_spec(
                built, rung, self._machine.lent_dir, block_network=version.block_network
            )
            return await self._take(spec, wanted)

    async def _take(self, spec: ZygoteSpec, version: Version | None) -> Zygote:
        if version is not None:
            zygote = await _alive(self._preloaded.pop(_program_key(spec, version), None))
            if zygote is not None:
                return zygote
        key = repr(spec)
        zygote = await _alive(self._ahead.pop(key, None))
        if zygote is None:
            zygote = await self._boot(spec)
        asyncio.get_running_loop().call_later(BOOT_DELAY_S, self._boot_ahead, key, spec)
        return zygote

    def _boot_ahead(self, key: str, spec: ZygoteSpec) -> None:
        if key in self._ahead:
            return
        future: asyncio.Future[Zygote] = asyncio.get_running_loop().create_future()
        self._ahead[key] = future
        self._tasks.start(self._fill(key, spec, future), "boot-zygote")
        while len(self._ahead) > IMAGES_MAX:
            _, oldest = self._ahead.popitem(last=False)
            oldest.add_done_callback(_kill_booted)

    # -- programs

    def learn(self, version: Version, zygote: Zygote, answer: dict[str, Any]) -> None:
        """Have the prelude of a program imported ahead of its next version, if it is worth it.

        Args:
            version: what was imported.
            zygote: where it was imported.
            answer: of `Zygote.prepare`.
        """
        key = _program_key(_spec_of(zygote), version)
        known = self._preludes.pop(key, _UNKNOWN)
        web = tuple(version.entry.get("web", ())) if answer["is_whole"] else ()
        if answer["prelude"] is None or not (answer["prelude"] or web):
            self.expect(version, zygote)  # its functions may begin with something
            return
        prelude = Prelude(modules=answer["prelude"], web=web, env=version.env)
        self._preludes[key] = prelude if known is not None else None
        while len(self._preludes) > PRELUDES_MAX:
            self._preludes.popitem(last=False)
        self.expect(version, zygote)

    def learn_late(self, version: Version, zygote: Zygote, names: tuple[str, ...]) -> None:
        """Have what functions of a program begin with imported ahead of its next version as well.

        Args:
            version: the last one.
            zygote: where these were imported behind the program.
            names: modules.
        """
        key = _program_key(_spec_of(zygote), version)
        known = self._late.pop(key, _UNKNOWN)
        every = tuple(dict.fromkeys([*known.late, *names]))[:LATE_MAX]
        web = tuple(version.entry.get("web", ()))
        self._late[key] = Prelude(modules=(), web=web, env=version.env, late=every)
        while len(self._late) > PRELUDES_MAX:
            self._late.popitem(last=False)
        if every != known.late:
            self._forget(key)
        self.expect(version, zygote)

    def unlearn_late(self, version: Version, zygote: Zygote) -> None:
        """Note that a version does not fit what was imported ahead of it; its functions may not."""
        self._late.pop(_program_key(_spec_of(zygote), version), None)

    def _forget(self, key: str) -> None:
        """End what was preloaded for a program."""
        preloaded = self._preloaded.pop(key, None)
        if preloaded is not None:
            preloaded.add_done_callback(_kill_booted)

    def _expected(self, key: str) -> Prelude | None:
        """What the next version of a program begins with, and its functions; None: not known."""
        late = self._late.get(key)
        if key not in self._preludes:
            return late
        prelude = self._preludes[key]
        if prelude is None or late is None:
            return prelude
        return dataclasses.replace(prelude, web=late.web, late=late.late)

    def expect(self, version: Version, zygote: Zygote) -> None:
        """Be ready for the next version of a program, if it is known what that begins with.

        Args:
            version: the last one.
            zygote: where it was imported, or failed to be.
        """
        spec = _spec_of(zygote)
        key = _program_key(spec, version)
        asyncio.get_running_loop().call_later(BOOT_DELAY_S, self._preload_ahead, key, spec)

    def _preload_ahead(self, key: str, spec: ZygoteSpec) -> None:
        prelude = self._expected(key)
        if prelude is None or key in self._preloaded:
            return
        future: asyncio.Future[Zygote] = asyncio.get_running_loop().create_future()
        self._preloaded[key] = future
        self._tasks.start(self._fill_preloaded(key, spec, prelude, future), "preload-zygote")
        while len(self._preloaded) > PRELOADED_MAX:
            self._end_oldest()

    async def _fill_preloaded(
        self, key: str, spec: ZygoteSpec, prelude: Prelude, future: asyncio.Future[Zygote]
    ) -> None:
        try:
            zygote = await self._boot(spec)
            culprits = await zygote.preload(prelude, timeout_s=PRELOAD_TIMEOUT_S)
            if culprits:
                zygote.kill()
                os.close(zygote.log_fd)
                raise RuntimeFailedError(", ".join(culprits))
            future.set_result(zygote)
        except RuntimeFailedError as error:
            log.warning("preload_given_up", extra={"fields": {"reason": str(error)}})
            if prelude.late:
                self._late.pop(key, None)
            else:
                self._preludes[key] = None
            if self._preloaded.get(key) is future:
                del self._preloaded[key]
            future.set_exception(error)
            future.exception()  # whoever waits gets it; if nobody does, it is no news

    def preloaded(self) -> list[Zygote]:
        """Zygotes that wait for the next version of a program."""
        done = [one for one in self._preloaded.values() if one.done()]
        zygotes = [one.result() for one in done if one.exception() is None]
        return [zygote for zygote in zygotes if not zygote.exited.done()]

    def end_preloaded(self) -> bool:
        """End the one that has waited longest; True if there was one."""
        if self._preloaded:
            self._end_oldest()
            return True
        return False

    def _end_oldest(self) -> None:
        _, oldest = self._preloaded.popitem(last=False)
        oldest.add_done_callback(_kill_booted)

    # -- booting

    async def _fill(self, key: str, spec: ZygoteSpec, future: asyncio.Future[Zygote]) -> None:
        try:
            future.set_result(await self._boot(spec))
        except RuntimeFailedError as error:
            self._ahead.pop(key, None)
            future.set_exception(error)
            future.exception()  # whoever waits gets it; if nobody does, it is no news

    async def _boot(self, spec: ZygoteSpec) -> Zygote:
        machine = self._machine
        while True:
            await asyncio.shield(machine.rung)
            launcher, leaves = machine.launcher, machine.leaves
            cgroup = None if leaves is None else await _own_cgroup(leaves)
            try:
                zygote = await launcher.spawn_zygote(
                    dataclasses.replace(spec, cgroup=cgroup, leaves=leaves), ids.new_id("zy")
                )
            except RuntimeFailedError:
                if cgroup is not None:
                    Leaves.remove(cgroup)
                if not launcher.is_gone:
                    raise
                machine.lose(launcher)
                continue
            if cgroup is not None:
                zygote.exited.add_done_callback(functools.partial(_remove_cgroup, cgroup))
            return zygote


async def _own_cgroup(leaves: Leaves) -> Cgroup:
    try:
        return await leaves.make()
    except OSError as error:
        raise RuntimeFailedError(f"no cgroup for a zygote: {error}") from error


def _remove_cgroup(cgroup: Cgroup, _: asyncio.Future[int]) -> None:
    Leaves.remove(cgroup)


def _spec_of(zygote: Zygote) -> ZygoteSpec:
    """What a zygote was booted as."""
    return dataclasses.replace(zygote.spec, cgroup=None, leaves=None)


async def _alive(ahead: asyncio.Future[Zygote] | None) -> Zygote | None:
    """What was made ahead, if it was and lives; what failed ahead is tried once more."""
    zygote = None
    if ahead is not None:
        with contextlib.suppress(RuntimeFailedError):
            zygote = await ahead
    return None if zygote is None or zygote.exited.done() else zygote


def _program_key(spec: ZygoteSpec, version: Version) -> str:
    """What is equal for versions of a program that differ in nothing but sources."""
    parts = values.encode({"spec": repr(spec), "entry": version.entry, "env": version.env})
    return hashlib.sha256(parts).hexdigest()


def _kill_booted(future: asyncio.Future[Zygote]) -> None:
    if future.exception() is None:
        zygote = future.result()
        zygote.kill()
        os.close(zygote.log_fd)


def zygote_spec(
    image: dict[str, Any], rung: str, lent_dir: str, *, block_network: bool
) -> ZygoteSpec:
    """What the runtime needs to know of an image that is the host, as a client describes it."""
    trees = [tree for tree in _SYSTEM_TREES if os.path.isdir(tree)]
    return ZygoteSpec(
        rung=rung,
        python=str(image["python"]),
        trees=(*trees, *map(str, image["trees"])),
        sdk_dir=os.path.dirname(package_dir("volant")),
        cloudpickle_dir=package_dir("cloudpickle"),
        lent_dir=lent_dir,
        env=_base_environment(image),
        block_network=block_network,
    )


def built_spec(built: Built, rung: str, lent_dir: str, *, block_network: bool) -> ZygoteSpec:
    """What the runtime needs to know of a built image.

    Raises:
        ImageBuildError: when it has no Python.
    """
    if built.machine is not None:
        spec = zygote_spec(built.machine, rung, lent_dir, block_network=block_network)
        marks = under_all_names({"VOLANT_IMAGE_ID": built.image_id})
        return dataclasses.replace(
            spec, layers=built.layers, is_over_machine=True, workdir=built.workdir,
            entrypoint=built.entrypoint, env={**spec.env, **built.env, **marks},
        )  # fmt: skip
    return ZygoteSpec(
        rung=rung,
        python=built.python,
        layers=built.layers,
        workdir=built.workdir,
        entrypoint=built.entrypoint,
        sdk_dir=os.path.dirname(package_dir("volant")),
        cloudpickle_dir=package_dir("cloudpickle"),
        lent_dir=lent_dir,
        env={
            **built_environment(built),
            **under_all_names({**_MARKS, "VOLANT_IMAGE_ID": built.image_id}),
        },
        block_network=block_network,
    )


def built_environment(built: Built) -> dict[str, str]:
    """The variables that a built image gives to what runs in it."""
    return {"PATH": IMAGE_PATH, **_ENVIRONMENT, **built.env}


def _base_environment(image: dict[str, Any]) -> dict[str, str]:
    prefix, base = str(image["prefix"]), str(image["base_prefix"])
    directories = [f"{prefix}/bin", f"{base}/bin", *IMAGE_PATH.split(":")]
    env = {**_ENVIRONMENT, **under_all_names(_MARKS), "PATH": ":".join(dict.fromkeys(directories))}
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
