"""What a step is built with: layers to fill, commands to run in them, contents, and a log."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volant.errors import ImageBuildError
from volantd.images.keys import image_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from typing import BinaryIO, Protocol

    from volantd.images.store import Record, Store

    Say = Callable[[bytes], None]
    Content = Callable[[str], Awaitable[bytes]]

    class RunCommand(Protocol):
        """Runs a command of a build to its end."""

        async def __call__(self, command: Command, say: Say, /) -> int:
            """The exit code, as a shell would tell it; what it prints goes to `say`."""


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
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
        argv: the command; the first is a path in the image.
        env: its whole environment.
        cwd: where it starts; made if it is not there.
        shared: directories of this machine that it may write to, and where it sees them.
        timeout_s: how long it may run.
        memory_bytes: what it may use; None for what every step may.
    """

    layers: tuple[str, ...]
    output: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str = "/"
    shared: tuple[tuple[str, str], ...] = ()
    timeout_s: float = STEP_TIMEOUT_S
    memory_bytes: int | None = None


class Workbench:
    """One step's build.

    Attributes:
        key: of the step.
        store: where layers lie.
        below: the image up to the step before.
        calls: what functions that are called in the build need and keys do not, by digest.
        log: what the step prints, for `volant image logs`.
    """

    def __init__(
        self,
        key: str,
        store: Store,
        below: Record,
        *,
        run: RunCommand,
        content: Content,
        calls: Mapping[str, dict[str, Any]],
        log: BinaryIO,
        listeners: list[Say],
    ) -> None:
        self.key = key
        self.store = store
        self.below = below
        self.calls = calls
        self.log = log
        self.content = content
        self._run = run
        self._listeners = listeners

    @property
    def layers(self) -> tuple[str, ...]:
        """The directories of the image up to the step before, the lowest first."""
        return tuple(map(self.store.layer_path, self.below.layers))

    @property
    def env(self) -> dict[str, str]:
        """What commands of the image find in their environment."""
        settings = self.below.settings
        return {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **settings.env}

    def say(self, data: bytes) -> None:
        """Tell the log and everybody who waits."""
        self.log.write(data)
        for listener in self._listeners:
            listener(data)

    @contextlib.asynccontextmanager
    async def new_layer(self, layer_id: str | None = None) -> AsyncIterator[str]:
        """A place whose `diff` becomes the layer of this step, or the one that is named.

        A block that raises leaves nothing.
        """
        place = await asyncio.to_thread(self.store.begin)
        try:
            yield place
            await asyncio.to_thread(self.store.keep, place, layer_id or self.key)
        finally:
            await asyncio.to_thread(self.store.discard, place)

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
        timeout_s: float = STEP_TIMEOUT_S,
        memory_bytes: int | None = None,
    ) -> None:
        """Run a command in the image, into a new layer.

        Args:
            place: of the layer, from `new_layer`.
            what: the command as people know it, for the error.
            env: variables beside those of the image.
            layers: what it runs on, if not the image up to the step before.
            cwd: where, if not in the working directory of the image.

        Raises:
            ImageBuildError: when it fails.
        """
        command = Command(
            layers=self.layers if layers is None else layers,
            output=place,
            argv=argv,
            env={**self.env, **(env or {})},
            cwd=cwd or self.below.settings.workdir or "/",
            shared=shared,
            timeout_s=timeout_s,
            memory_bytes=memory_bytes,
        )
        code = await self._run(command, self.say)
        if code:
            raise self.failure(f"`{what}` ended with exit code {code}")

    def failure(self, what: str) -> ImageBuildError:
        """The error of this step, with the last lines that it printed."""
        self.log.flush()
        with open(self.store.log_path(self.key), "rb") as log:
            log.seek(max(0, log.seek(0, 2) - _TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()[-LINES_SHOWN:]
        name = image_id(self.key)
        text = f"building image {name}: {what}"
        return ImageBuildError(
            "\n".join([text, *(f"  {line[:LINE_CHARS_SHOWN]}" for line in lines)]),
            hint=f"`volant image logs {name}` shows all that it printed",
        )
