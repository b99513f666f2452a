"""What a step is built with: layers to fill, commands to run in them, contents, and a log."""

from __future__ import annotations

import contextlib
import copy
import os
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant.errors import ImageBuildError
from volantd.images.kept.books import wall_clock
from volantd.images.kept.tree import has_file
from volantd.images.keys import image_id
from volantd.images.redaction import HIDDEN_CHARS_MIN, Redacted, redacted
from volantd.images.store import Record
from volantd.patience import on_thread

if TYPE_CHECKING:
    import mmap
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from typing import Protocol

    from volantd.images.once import Once
    from volantd.images.store import Store

    Say = Callable[[bytes], None]
    Blob = bytes | mmap.mmap
    Content = Callable[[str], Awaitable[Blob]]

    class RunCommand(Protocol):
        """Runs a command of a build to its end."""

        async def __call__(self, command: Command, say: Say, /) -> int:
            """The exit code, as a shell would tell it; what it prints goes to `say`."""


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Where an image's Python is looked for, in this order.
PYTHONS = ("/usr/local/bin/python3", "/usr/bin/python3", "/usr/local/bin/python", "/usr/bin/python")
#: Time that a step may take when nothing else is said.
STEP_TIMEOUT_S = 3600.0
#: Lines of a failed step that its error shows, and how many characters of each.
LINES_SHOWN = 20
LINE_CHARS_SHOWN = 500
#: What is read of a log for that.
_TAIL_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that a step runs, and on what.

    Attributes:
        layers: directories that its root is made of, the lowest first.
        output: a directory with `diff` and `work` in it; what it writes comes to lie in `diff`.
        argv: the command; its program is looked for in PATH unless it is a path in the image.
        env: its whole environment.
        cwd: where it starts; made if it is not there.
        shared: directories of this machine that it may write to, and where it sees them.
        readable: further ones that it may only read, likewise.
        volumes: volumes that it has, as its step names them.
        mounts: the same, as they are mounted: known to who runs it.
        timeout_s: how long it may run.
        memory_mib: memory that it may use; None for what every step may.
        cpu_count: cores that it may use, which may be a fraction; None for all.
    """

    layers: tuple[str, ...]
    output: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str = "/"
    shared: tuple[tuple[str, str], ...] = ()
    readable: tuple[tuple[str, str], ...] = ()
    volumes: Sequence[dict[str, Any]] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    timeout_s: float = STEP_TIMEOUT_S
    memory_mib: float | None = None
    cpu_count: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What a build may need beside its steps, none of it part of a key.

    Attributes:
        calls: of the functions that it calls, by the digest in their step.
        files: sources of the app, each (path below /root, mode, sha256, size).
        entry: the module that the app begins with, as a client describes it.
        all_secrets: index of a step -> its field -> the variables that secrets give it.
        secrets: those of the step that is built: of its commands in `secrets`, for a registry in
            `auth`.
    """

    calls: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    files: tuple[tuple[str, int, str, int], ...] = ()
    entry: Mapping[str, Any] = field(default_factory=dict)
    all_secrets: Mapping[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    secrets: Mapping[str, dict[str, str]] = field(default_factory=dict)

    def for_step(self, index: int) -> Brought:
        """The same, for the step of an index."""
        return replace(self, secrets=self.all_secrets.get(str(index), {}))


class Workbench:
    """One step's build.

    Attributes:
        key: of the step.
        store: where layers lie.
        below: the image up to the step before.
        parent: the key of that one, None for a base.
        brought: what the build has beside its steps.
        say: hears what the step prints: its log, and everybody who waits.
        places: directories on the disk that this step fills; what is left of them goes with it.
        began: when (monotonic).
    """

    def __init__(
        self,
        key: str,
        store: Store,
        below: Record,
        *,
        run: RunCommand,
        content: Content,
        brought: Brought,
        say: Say,
        shared: Once[str],
        choices: Mapping[str, object],
        parent: str | None = None,
        is_forced: bool = False,
    ) -> None:
        self.key = key
        self.store = store
        self.below = below
        self.parent = parent
        self.brought = brought
        self.say = say
        self.content = content
        self.places: set[str] = set()
        self.began = monotonic()
        self._began_at = wall_clock()
        self._is_forced = is_forced
        #: why it has to end before it is done, once it has to
        self._stop: list[str] = []
        self._run = run
        self._shared = shared
        self._choices = choices
        #: layer as its record is about to name it -> as the store had to
        self._kept: dict[str, str] = {}

    @property
    def layers(self) -> tuple[str, ...]:
        """The directories of the image up to the step before, the lowest first.

        Raises:
            ImageBuildError: when there is more to it than these, as its base is this machine.
        """
        if self.below.machine is not None:
            raise self._error(
                "the image that it begins with lies over this machine's own files, on which no "
                "step can be built that needs files",
                hint="make the change in a sandbox of that image, and take a snapshot of it",
            )
        return tuple(map(self.store.layer_path, self.below.layers))

    @property
    def env(self) -> dict[str, str]:
        """What commands of the image find in their environment."""
        settings = self.below.settings
        return {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **settings.env}

    @property
    def python(self) -> str:
        """The image's interpreter, by its path there.

        Raises:
            ImageBuildError: when it has none.
        """
        return find_python(self.layers)

    def choice(self, name: str) -> str:
        """A setting of the daemon that says how images are made; empty when nothing was chosen."""
        return str(self._choices.get(name, ""))

    async def once(self, name: str, make: Callable[[Workbench], Awaitable[str]]) -> str:
        """The id of a layer that several keys share, made by one of them for all who want it.

        Args:
            name: equal names are the same work.
            make: makes the layer, or finds it, with a workbench that all of them hear.
        """

        async def work(say: Say) -> str:
            bench = self.on(Record())  # what is shared depends on no image's settings,
            bench.brought = Brought()  # and sees no step's secrets
            bench.say = say
            made = await make(bench)
            return self._kept.get(made, made)

        return await self._shared.get(name, work, self.say)

    def on(self, below: Record) -> Workbench:
        """The same bench, for something that is built on another image."""
        bench = copy.copy(self)
        bench.below = below
        return bench

    def part(self, key: str) -> Record | None:
        """What a part of this step has made before, if it is to be used again."""
        entry = self.store.books.entries.get(key)
        if entry is None or (self._is_forced and entry.created_at < self._began_at):
            return None
        self.store.books.use(key)
        return self.store.record(key)

    def keep_part(self, key: str, record: Record) -> Record:
        """Note what a part of this step has made; returns it with the layers as they are kept."""
        kept = self.as_kept(record)
        self.store.books.add_part(key, kept, self.key)
        return kept

    @contextlib.asynccontextmanager
    async def scratch(self) -> AsyncIterator[str]:
        """An empty directory that is gone after the block; it may serve as a layer meanwhile."""
        place = self.store.new_place()
        self.places.add(place)
        try:
            await on_thread(self.store.begin, place)
            yield os.path.join(place, "diff")
        finally:
            self.places.discard(place)
            await on_thread(self.store.discard, place)

    @contextlib.asynccontextmanager
    async def new_layer(self, layer_id: str | None = None) -> AsyncIterator[str]:
        """A place whose `diff` becomes the layer of this step, or the one that is named.

        A block that raises leaves nothing.
        """
        place = self.store.new_place()
        self.places.add(place)
        try:
            await on_thread(self.store.begin, place)
            yield place
            self.go_on()
            wanted = layer_id or self.key
            self._kept[wanted] = await on_thread(self.store.keep, place, wanted)
        finally:
            self.places.discard(place)
            await on_thread(self.store.discard, place)

    def as_kept(self, record: Record) -> Record:
        """What a step has made, with its layers as the store names them."""
        layers = tuple(self._kept.get(layer, layer) for layer in record.layers)
        return replace(record, layers=layers)

    def stop(self, reason: str) -> None:
        """Have the step end before it is done, as soon as it looks."""
        self._stop.append(reason)

    def go_on(self, _: int = 0) -> None:
        """Called again and again by whoever fills the disk without a command.

        Raises:
            ImageBuildError: when the step has to end.
        """
        if self._stop:
            raise self.failure(self._stop[0])

    async def run(
        self,
        place: str,
        argv: tuple[str, ...],
        *,
        what: str,
        env: Mapping[str, str] | None = None,
        layers: tuple[str, ...] | None = None,
        cwd: str | None = None,
        shared: tuple[tuple[str, str], ...] = (),
        readable: tuple[tuple[str, str], ...] = (),
        volumes: Sequence[dict[str, Any]] = (),
        hidden: Sequence[str] = (),
        timeout_s: float = STEP_TIMEOUT_S,
        memory_mib: float | None = None,
        cpu_count: float | None = None,
    ) -> None:
        """Run a command in the image, into a new layer, on top of what is there already.

        Args:
            place: of the layer, from `new_layer`.
            what: the command as people know it, for the error.
            env: variables beside those of the image.
            layers: what it runs on, if not the image up to the step before.
            cwd: where, if not in the working directory of the image.
            volumes: of its step.
            hidden: texts that nobody may read in what it prints.

        Raises:
            ImageBuildError: when it fails, or has to end.
        """
        await on_thread(self.store.clear_work, place)
        secrets = self.brought.secrets.get("secrets", {})
        hidden = [*hidden, *(one for one in secrets.values() if len(one) >= HIDDEN_CHARS_MIN)]
        what = redacted(what, hidden)
        command = Command(
            layers=self.layers if layers is None else layers,
            output=place,
            argv=argv,
            env={**self.env, **secrets, **(env or {})},
            cwd=cwd or self.below.settings.workdir or "/",
            shared=shared,
            readable=readable,
            volumes=volumes,
            timeout_s=timeout_s,
            memory_mib=memory_mib,
            cpu_count=cpu_count,
        )
        said = Redacted(self.say, hidden)
        try:
            code = await self._run(command, said)
        finally:
            said.end()
        self.go_on()
        if code:
            raise self.failure(f"`{what}` ended with exit code {code}")

    def failure(self, what: str) -> ImageBuildError:
        """The error of this step, with the last lines that it printed."""
        with open(self.store.books.log_path(self.key), "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()[-LINES_SHOWN:]
        return self._error("\n".join([what, *(f"  {line[:LINE_CHARS_SHOWN]}" for line in lines)]))

    def named(self, error: ImageBuildError) -> ImageBuildError:
        """An error of this step that says which image it is about."""
        return error if error.image_id is not None else self._error(error.message, error.hint)

    def _error(self, what: str, hint: str | None = None) -> ImageBuildError:
        name = image_id(self.key)
        return ImageBuildError(
            f"building image {name}: {what}",
            hint=hint or f"`volant image logs {name}` shows all that it printed",
            image_id=name,
        )


def find_python(layers: Sequence[str], machine: dict[str, Any] | None = None) -> str:
    """The interpreter of an image, by its path there.

    Args:
        layers: directories, the lowest first.
        machine: the image of this machine that they lie over, if they do.

    Raises:
        ImageBuildError: when it has none.
    """
    if machine is not None:
        return str(machine["python"])
    for path in PYTHONS:
        if has_file(layers, path):
            return path
    raise ImageBuildError(
        "the image has no Python: there is none at " + ", ".join(PYTHONS),
        hint="functions run in an image's own Python; begin with one that has it",
    )
