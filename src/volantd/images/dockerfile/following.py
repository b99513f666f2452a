"""Does what the instructions of a Dockerfile say, each of them once for the same image below it.

    instruction ─► key(the image below, the instruction, what it copies, what it sees) ─► layer

So a Dockerfile that changed in its last line is built from there. What only describes an image
(LABEL, EXPOSE, HEALTHCHECK, MAINTAINER) is passed over. So is USER, and that is said: steps and
containers are root of a user namespace of their own.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from volantd.images.dockerfile import copying, words
from volantd.images.kept import tree
from volantd.images.keys import Settings
from volantd.images.steps import debian, kind, registry
from volantd.images.store import Record
from volantd.patience import on_thread

if TYPE_CHECKING:
    from volant.sdk.images.dockerfile import Instruction
    from volantd.images.workbench import Workbench

#: Part of the key of each instruction.
VERSION = 1
WORKDIR_DEFAULT = "/"
#: What `Image.debian_slim` is called in FROM, its Python behind a colon. Without a registry's name
#: before it, no stranger can have an image that other builders take for it.
DEBIAN = "debian_slim"
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(slots=True)
class _Stage:
    """What one FROM began: the image so far, and the ARGs that it declared."""

    record: Record
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def seen(self) -> dict[str, str]:
        """What variables stand for: ENV before ARG."""
        return {**self.arguments, **self.record.settings.env}

    @property
    def workdir(self) -> str:
        return self.record.settings.workdir or WORKDIR_DEFAULT

    def key(self, instruction: Instruction, *more: object) -> str:
        """Of the layer that an instruction makes here."""
        parts = [
            VERSION, asdict(self.record), self.arguments, instruction.name, instruction.rest,
            instruction.texts, more,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Follower:
    """Follows the instructions of one step.

    Args:
        bench: of the step.
        files: the context: path -> (mode, digest).
        given: values of ARGs, from outside.
        variables: what commands see besides, of this step alone.
    """

    def __init__(
        self, bench: Workbench, files: dict[str, tuple[int, str]], given: dict[str, str],
        variables: dict[str, str],
    ) -> None:  # fmt: skip
        self._bench = bench
        self._files = files
        self._given = given
        self._variables = variables
        self._before_from: dict[str, str] = {}
        self._stages: list[_Stage] = []
        self._names: dict[str, int] = {}
        self._passed_over: set[str] = set()

    async def follow(self, instructions: list[Instruction], below: Record | None) -> Record:
        """The image after all instructions.

        Args:
            instructions: in their order.
            below: what the first builds on; None when it is FROM.

        Raises:
            ImageBuildError: for the first that cannot be followed.
        """
        if below is not None:
            self._stages.append(_Stage(below))
        for instruction in instructions:
            self._bench.say(f"volant: {instruction.name} {instruction.rest}\n".encode())
            try:
                await self._one(instruction)
            except (ValueError, OSError) as error:
                line = f"{instruction.name} {instruction.rest}"
                raise self._bench.failure(f"`{line}` cannot be followed: {error}") from error
        if not self._stages:
            raise self._bench.failure("a Dockerfile without FROM")
        return self._stages[-1].record

    async def _one(self, instruction: Instruction) -> None:
        name = instruction.name
        if name == "FROM":
            await self._from(instruction.rest)
        elif not self._stages:
            if name != "ARG":
                raise ValueError("it comes before FROM")
            self._before_from.update(self._declared(instruction.rest, self._before_from))
        elif name == "RUN":
            await self._run(self._stages[-1], instruction)
        elif name in ("COPY", "ADD"):
            await self._copy(self._stages[-1], instruction)
        elif name in ("ENV", "ARG", "WORKDIR", "SHELL", "ENTRYPOINT", "CMD"):
            self._set(self._stages[-1], name, instruction.rest)
        elif name == "USER" and name not in self._passed_over:
            self._passed_over.add(name)
            self._bench.say(b"volant: USER is passed over, everything here is its own root\n")

    # -- settings

    def _declared(self, rest: str, seen: dict[str, str]) -> dict[str, str]:
        """What ARG declares: the value from outside, else its own, else the one before FROM."""
        found: dict[str, str] = {}
        for word in words.split(rest, seen):
            name, equals, value = word.partition("=")
            if name in self._given:
                found[name] = self._given[name]
            elif equals:
                found[name] = value
            elif name in self._before_from:
                found[name] = self._before_from[name]
        return found

    def _set(self, stage: _Stage, name: str, rest: str) -> None:
        settings = stage.record.settings
        if name == "ARG":
            stage.arguments.update(self._declared(rest, stage.seen))
            return
        if name == "ENV":
            settings = replace(settings, env={**settings.env, **words.pairs(rest, stage.seen)})
        elif name == "WORKDIR":
            path = posixpath.join(stage.workdir, words.expand(rest, stage.seen))
            settings = replace(settings, workdir=posixpath.normpath(path))
        else:
            settings = self._command(settings, name, rest)
        stage.record = replace(stage.record, settings=settings)

    @staticmethod
    def _command(settings: Settings, name: str, rest: str) -> Settings:
        listed = words.listed(rest)
        if name == "SHELL":
            if not listed:
                raise ValueError('it wants the form ["program", "argument"]')
            return replace(settings, shell=tuple(listed))
        command = (*settings.shell, rest) if listed is None else tuple(listed)
        if name == "CMD":
            return replace(settings, cmd=command)
        return replace(settings, entrypoint=command if rest else ())

    # -- FROM

    async def _from(self, rest: str) -> None:
        flags, rest = words.flags(rest)
        _refuse_unknown(flags, {"platform"})
        given = words.split(rest, self._before_from)
        if len(given) not in (1, 3) or (len(given) == 3 and given[1].upper() != "AS"):
            raise ValueError("it wants an image, and perhaps `AS name`")
        self._stages.append(_Stage(await self._image(given[0])))
        if len(given) == 3:
            self._names[given[2].lower()] = len(self._stages) - 1

    async def _image(self, name: str) -> Record:
        """The image that a name of FROM or `--from` stands for."""
        if name.lower() in self._names:
            return self._stages[self._names[name.lower()]].record
        if name.isdecimal() and int(name) < len(self._stages):
            return self._stages[int(name)].record
        if name == "scratch":
            return Record()
        base, _, series = name.partition(":")
        if base == DEBIAN:
            if not series:
                raise ValueError(f"it wants a Python as well, such as `{DEBIAN}:3.12`")
            return await debian.debian_with_python(self._bench, kind.series(series), anew=False)
        return await registry.pulled(name, self._bench)

    # -- RUN

    async def _run(self, stage: _Stage, instruction: Instruction) -> None:
        flags, rest = words.flags(instruction.rest)
        _refuse_unknown(flags, {"mount"})
        shared, bound = self._mounts(flags.get("mount", []))
        digests = [(target, self._files[path]) for target, path in bound]
        key = stage.key(instruction, self._variables, digests)
        record = self._bench.part(key)
        if record is None:
            argv = self._argv(stage, rest, instruction.texts)
            record = stage.record.with_layers(key)
            await self._run_in(stage, key, argv, instruction, shared, bound)
            record = self._bench.keep_part(key, record)
        stage.record = record

    @staticmethod
    def _argv(stage: _Stage, rest: str, texts: list[tuple[str, str]]) -> tuple[str, ...]:
        listed = words.listed(rest)
        if listed:
            return tuple(listed)
        shell = stage.record.settings.shell
        if len(texts) == 1 and rest.strip() == texts[0][0]:  # RUN <<EOF: the text is the command
            return (*shell, texts[0][1])
        ends = [word.lstrip("<-").strip("\"'") for word, _ in texts]
        bodies = [f"{text}{end}\n" for (_, text), end in zip(texts, ends, strict=True)]
        return (*shell, "\n".join([rest, *bodies]) if bodies else rest)

    async def _run_in(
        self, stage: _Stage, key: str, argv: tuple[str, ...], instruction: Instruction,
        shared: list[tuple[str, str]], bound: list[tuple[str, str]],
    ) -> None:  # fmt: skip
        bench = self._bench.on(stage.record)
        async with bench.scratch() as lower:
            for target, path in bound:
                mode, digest = self._files[path]
                content = await bench.content(digest)
                layer = copying.Layer(lower, bench.layers, copying.Owner())
                await on_thread(layer.write, target, content, mode)
            async with bench.new_layer(key) as place:
                await bench.run(
                    place, argv, what=instruction.rest, cwd=stage.workdir,
                    env={**stage.seen, **self._variables}, shared=tuple(shared),
                    layers=(*bench.layers, lower) if bound else None,
                )  # fmt: skip

    def _mounts(self, given: list[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """What `--mount` asks for: (directory here, path there) of caches, and bound files."""
        shared: list[tuple[str, str]] = []
        bound: list[tuple[str, str]] = []
        for text in given:
            fields = {
                name: value for name, _, value in (part.partition("=") for part in text.split(","))
            }
            kind = fields.get("type", "bind")
            target = fields.get("target") or fields.get("dst") or fields.get("destination")
            if target is None or not target.startswith("/"):
                raise ValueError(f"--mount={text} needs an absolute target")
            if kind == "cache":
                name = f"mounted by Dockerfiles: {fields.get('id') or target}"
                shared.append((self._bench.store.caches.directory(name), target))
            elif kind == "bind" and "from" not in fields:
                source = posixpath.normpath((fields.get("source") or ".").lstrip("/"))
                bound += copying.from_context(
                    [source], target, sorted(self._files), is_directory=False
                )
            else:
                raise ValueError(f"--mount=type={kind} is not there yet")
        return shared, bound

    # -- COPY, ADD

    async def _copy(self, stage: _Stage, instruction: Instruction) -> None:
        flags, rest = words.flags(instruction.rest)
        _refuse_unknown(flags, {"from", "chown", "chmod", "link"})
        flags = {name: [words.expand(one, stage.seen) for one in v] for name, v in flags.items()}
        given = words.listed(rest) or words.split(rest, stage.seen)
        if len(given) < 2:
            raise ValueError("it wants sources and a target")
        *sources, target = given
        if instruction.name == "ADD":
            _refuse_unpacked(sources)
        place = posixpath.normpath(posixpath.join(stage.workdir, target))
        top = tree.root([self._bench.store.layer_path(one) for one in stage.record.layers])
        node = await on_thread(tree.at, top, place)
        is_directory = target.endswith(("/", "/.")) or target == "."
        is_directory = is_directory or (node is not None and node.is_directory)
        owner = copying.owner_of(flags, top)
        is_directory = is_directory or len(sources) > 1
        copies: _FromContext | _FromImage
        if "from" in flags:
            copies = await self._of_image(flags["from"][-1], sources, place, is_directory)
        else:
            copies = self._of_context(sources, place, instruction.texts, is_directory)
        key = stage.key(instruction, sources, place, copies.identity)
        record = self._bench.part(key)
        if record is None:
            bench = self._bench.on(stage.record)
            async with bench.new_layer(key) as output:
                layer = copying.Layer(output + "/diff", bench.layers, owner)
                await copies.fill(layer)
            record = stage.record.with_layers(key)
            record = self._bench.keep_part(key, record)
        stage.record = record

    def _of_context(
        self, sources: list[str], place: str, texts: list[tuple[str, str]], is_directory: bool
    ) -> _FromContext:
        marks = {word for word, _ in texts}
        plain = [source for source in sources if source not in marks]
        normal = [posixpath.normpath(source.lstrip("/") or ".") for source in plain]
        pairs = copying.from_context(
            normal, place, sorted(self._files), is_directory=is_directory
        ) if normal else []  # fmt: skip
        written = [
            (posixpath.join(place, word.lstrip("<-").strip("\"'")) if is_directory else place, text)
            for word, text in texts
        ]
        found = [(target, *self._files[path]) for target, path in pairs]
        return _FromContext(self._bench, found, written)

    async def _of_image(
        self, name: str, sources: list[str], place: str, is_directory: bool
    ) -> _FromImage:
        record = await self._image(name)
        layers = [self._bench.store.layer_path(one) for one in record.layers]
        top = tree.root(layers)
        found: list[tuple[str, tree.Node]] = []
        for source in sources:
            path = posixpath.normpath("/" + source)
            node = await on_thread(tree.at, top, path)
            if node is None:
                raise ValueError(f"{source!r} is not in that image")
            into = is_directory and not node.is_directory
            name = posixpath.join(place, posixpath.basename(path)) if into else place
            found.append((name, node))
        return _FromImage(record, found)


@dataclass(slots=True)
class _FromContext:
    """Files of the context, and texts of the instruction itself, by where they go."""

    bench: Workbench
    found: list[tuple[str, int, str]]
    written: list[tuple[str, str]]

    @property
    def identity(self) -> object:
        return self.found, self.written

    async def fill(self, layer: copying.Layer) -> None:
        for target, mode, digest in self.found:
            content = await self.bench.content(digest)
            await on_thread(layer.write, target, content, mode)
        for target, text in self.written:
            await on_thread(layer.write, target, text.encode(), 0o644)


@dataclass(slots=True)
class _FromImage:
    """Files of another image, by where they go."""

    record: Record
    found: list[tuple[str, tree.Node]]

    @property
    def identity(self) -> object:
        return self.record.layers

    async def fill(self, layer: copying.Layer) -> None:
        for target, node in self.found:
            await on_thread(layer.copy, node, target)


def _refuse_unknown(flags: dict[str, list[str]], known: set[str]) -> None:
    for name in flags:
        if name not in known:
            raise ValueError(f"--{name} is not there yet")


def _refuse_unpacked(sources: list[str]) -> None:
    for source in sources:
        if source.startswith(("http://", "https://", "git@")):
            raise ValueError(f"ADD of {source!r}: fetch it with RUN, which says how")
        if source.endswith(_ARCHIVES):
            raise ValueError(f"ADD of the archive {source!r}: COPY it and unpack it with RUN")
