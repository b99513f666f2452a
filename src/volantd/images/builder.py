"""Builds images: one step after the other, each once however many ask for it, none twice.

    steps ──► keys ──► the last one that is here ──► build what follows ──► records ──► Built

What a step prints goes into its log, and to everybody who waits for it. A step that fails, or is
broken off, leaves nothing but its log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from volant.errors import ImageBuildError
from volantd.images.keys import first_forced, image_id, keys_of
from volantd.images.once import Once
from volantd.images.redaction import text_of
from volantd.images.steps import kind_of
from volantd.images.store import Record
from volantd.images.workbench import Brought, Workbench, find_python

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import FileIO

    from volantd.images.store import Store
    from volantd.images.workbench import Content, RunCommand, Say

    #: Hears which step begins: its number from 1 on, of how many, its key, and what it does.
    OnStep = Callable[[int, int, str, str], None]

NOTHING = Brought()
#: Wishes to build anew that are remembered, so that asking again for the same one builds nothing.
WISHES_MAX = 1000
#: Builds that are remembered when they have failed, so that they can be asked for by their ids.
FAILED_MAX = 200
#: What is kept of the output of one step.
LOG_BYTES_MAX = 16 << 20
#: Said of a step that was cancelled.
_ENDED = "it was ended, because nobody waited for it any more"
_CUT = b"\nvolant: the log ends here, the step has printed too much\n"


@dataclass(frozen=True, slots=True)
class Built:
    """An image that is here.

    Attributes:
        image_id: of it.
        layers: directories, the lowest first.
        env: its variables.
        workdir: where its containers start; None for where they start anyway.
        entrypoint: what starts before the interpreter, if anything.
        machine: the image of this machine that the layers lie over, as a client describes it; None
            where they are all that there is.
    """

    image_id: str
    layers: tuple[str, ...]
    env: dict[str, str]
    workdir: str | None = None
    entrypoint: tuple[str, ...] = ()
    machine: dict[str, Any] | None = None

    @property
    def python(self) -> str:
        """Its interpreter, by a path in the image.

        Raises:
            ImageBuildError: for an image without one, which others can be built on.
        """
        return find_python(self.layers, self.machine)


class Build:
    """One image that somebody waits for.

    Attributes:
        keys: of its steps.
        steps: as the client described them.
        built_anew: keys of the forced steps that are built already.
    """

    def __init__(self, keys: list[str], steps: list[dict[str, Any]], built_anew: set[str]) -> None:
        self.keys = keys
        self.steps = steps
        self.built_anew = built_anew


class _Log:
    """What a step prints: kept up to some size, and told to everybody who waits."""

    def __init__(self, file: FileIO, say: Say, on_news: Callable[[], None]) -> None:
        self._file = file
        self._say = say
        self._on_news = on_news
        self._room = LOG_BYTES_MAX

    def __call__(self, data: bytes) -> None:
        if self._room > 0:
            kept = data if len(data) <= self._room else data[: self._room] + _CUT
            self._room -= len(data)
            with contextlib.suppress(OSError):  # a full disk; those who wait hear it all the same
                self._file.write(kept)
        self._say(data)
        self._on_news()


class Builder:
    """Builds the images of one daemon.

    Args:
        store: where they lie.
        run: see the attribute.
        content: gives the content of a file that the client sent, by its digest.
        choices: the settings of the daemon, by name.

    Attributes:
        run: runs the commands of steps.
        builds: images that somebody waits for now.
        failed: those that came to nothing lately, by the key of their last step.
        benches: steps that are being built now, by key.
    """

    def __init__(
        self,
        store: Store,
        run: RunCommand,
        content: Content,
        choices: Mapping[str, object] | None = None,
    ) -> None:
        self._store = store
        self.run = run
        self._content = content
        self._choices = choices or {}
        self._steps: Once[Record] = Once()
        self._shared: Once[str] = Once()
        self.builds: set[Build] = set()
        self.failed: OrderedDict[str, Build] = OrderedDict()
        self.benches: dict[str, Workbench] = {}
        #: wish -> the forced steps that were built for it
        self._built_anew: OrderedDict[str, set[str]] = OrderedDict()
        self._news: asyncio.Future[None] | None = None

    async def build(
        self,
        steps: list[dict[str, Any]],
        say: Say,
        brought: Brought = NOTHING,
        wish: str = "",
        on_step: OnStep | None = None,
    ) -> Built:
        """The image of these steps, built as far as it is not here.

        Args:
            steps: checked descriptions, the base first.
            say: hears what the build prints.
            brought: what it may need beside them.
            wish: tells one wish for forced steps from the next; for each they are built once.
            on_step: hears which step begins, in place of `say`; nothing when all is here.

        Raises:
            ImageBuildError: with the last lines of the step that failed.
        """
        keys = keys_of(steps)
        build = Build(keys, steps, self._wished(wish, keys, steps))
        self.builds.add(build)
        try:
            index, record = self._find(build)
            for position in range(index + 1, len(steps)):
                step = steps[position]
                number, text = position + 1, text_of(step)
                if on_step is None:
                    say(f"volant: step {number} of {len(steps)}: {text}\n".encode())
                else:
                    on_step(number, len(steps), keys[position], text)
                given = brought.for_step(position)
                work = partial(self._step, build, position, record, given)
                record = await self._steps.get(keys[position], work, say)
                build.built_anew.add(keys[position])
            self.failed.pop(keys[-1], None)
            return self._built(keys[-1], record)
        except ImageBuildError as error:
            error.image_id = error.image_id or image_id(keys[-1])
            self.failed[keys[-1]] = build
            while len(self.failed) > FAILED_MAX:
                self.failed.popitem(last=False)
            raise
        finally:
            self.builds.discard(build)
            self._tell_news()

    def _wished(self, wish: str, keys: list[str], steps: list[dict[str, Any]]) -> set[str]:
        """The forced steps of an image that are as new as somebody wishes them."""
        if first_forced(steps) == len(steps):
            return set()
        found = self._built_anew.get(wish, set())
        for other in self.builds:  # whoever builds the same just now does it for both
            if other.keys[-1] == keys[-1] and first_forced(other.steps) == first_forced(steps):
                found = other.built_anew
        if wish:
            self._built_anew[wish] = found
        while len(self._built_anew) > WISHES_MAX:
            self._built_anew.popitem(last=False)
        return found

    def _find(self, build: Build) -> tuple[int, Record]:
        """The last step that need not be built, and its record.

        An image that was built on other layers than its steps have now is not the right one: one
        of them was built anew since.
        """
        keys, end = build.keys, first_forced(build.steps)
        while end < len(keys) and keys[end] in build.built_anew:
            end += 1
        index, found = -1, Record()
        for position in range(end):
            record = self._store.record(keys[position])
            if record is None:
                continue  # it may have gone while what is built on it has stayed
            if record.layers[: len(found.layers)] == found.layers:
                index, found = position, record
            else:
                break
        return index, found

    def _built(self, key: str, record: Record) -> Built:
        layers = tuple(map(self._store.layer_path, record.layers))
        settings = record.settings
        self._store.books.use(key)
        return Built(
            image_id(key), layers, settings.env, settings.workdir, settings.entrypoint,
            record.machine,
        )  # fmt: skip

    async def _step(
        self, build: Build, position: int, below: Record, brought: Brought, say: Say
    ) -> Record:
        """Build one step, and note what came of it."""
        books, key, step = self._store.books, build.keys[position], build.steps[position]
        parent = build.keys[position - 1] if position else None
        try:
            with books.begin(key, step, parent) as file:
                log = _Log(file, say, self._tell_news)
                bench = self.benches[key] = Workbench(
                    key, self._store, below, parent=parent, run=self.run, content=self._content,
                    brought=brought, say=log, shared=self._shared, choices=self._choices,
                    is_forced=position >= first_forced(build.steps),
                )  # fmt: skip
                try:
                    kind = kind_of(step["kind"])
                    assert kind is not None, "the step was checked"
                    record = bench.as_kept(await kind.build(step, bench))
                except ImageBuildError as error:
                    log(f"volant: {error.message.partition(chr(10))[0]}\n".encode())
                    raise bench.named(error) from error.__cause__
                except asyncio.CancelledError:
                    log(f"volant: {_ENDED}\n".encode())
                    raise asyncio.CancelledError(_ENDED) from None
            books.finish(key, record)
        except BaseException as error:
            with contextlib.suppress(OSError, KeyError):  # a full disk fails its error, too
                books.fail(key, str(error) or type(error).__name__)
            raise
        finally:
            self.benches.pop(key, None)
            self._tell_news()
        return record

    # -- who looks on

    def building(self, key: str) -> Build | None:
        """The build that a step is part of, if somebody waits for one."""
        return next((build for build in self.builds if key in build.keys), None)

    async def news(self) -> None:
        """Wait until some step has printed something, or some build has ended."""
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._news)

    def _tell_news(self) -> None:
        if self._news is not None:
            self._news.set_result(None)
            self._news = None

    def protected(self) -> set[str]:
        """Keys of images that belong to what is being built, or that nothing could build again."""
        found = {key for build in self.builds for key in build.keys} | self._store.books.pinned
        return found | {bench.parent for bench in self.benches.values() if bench.parent is not None}

    def oldest(self) -> float:
        """When the step began (monotonic) that is being built for the longest time."""
        return min((bench.began for bench in self.benches.values()), default=float("inf"))
