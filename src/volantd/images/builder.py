"""Builds images: one step after the other, each once however many ask for it, none twice.

    steps ──► keys ──► the last one that is here ──► run what follows ──► records ──► Built

What a step prints goes into its log, and to everybody who waits for it. A step that fails, or is
broken off, leaves nothing but its log.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volant.errors import ImageBuildError
from volantd.images import oci
from volantd.images.keys import SETTINGS, Settings, first_forced, image_id, keys_of
from volantd.images.store import Record, find

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from volantd.images.store import Store

    Say = Callable[[bytes], None]
    RunStep = Callable[..., Awaitable[int]]

#: Where an image's Python is looked for, in this order.
PYTHONS = ("/usr/local/bin/python3", "/usr/bin/python3", "/usr/local/bin/python", "/usr/bin/python")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Lines of a failed step that its error shows.
LINES_SHOWN = 20
#: All files of a copy have this time, so that equal content makes equal layers.
COPY_TIME_S = 1


@dataclass(frozen=True, slots=True)
class Built:
    """An image that is here.

    Attributes:
        image_id: of it.
        layers: directories, the lowest first.
        env: its variables.
        python: its interpreter, by a path in the image.
    """

    image_id: str
    layers: tuple[str, ...]
    env: dict[str, str]
    python: str


class Builder:
    """Builds the images of one daemon.

    Args:
        store: where they lie.
        run_step: runs a command on layers: (layers, output, argv, env, say) -> exit code.
        content: gives the content of a file that the client sent, by its digest.
    """

    def __init__(
        self, store: Store, run_step: RunStep, content: Callable[[str], Awaitable[bytes]]
    ) -> None:
        self._store = store
        self._run_step = run_step
        self._content = content
        self._building: dict[str, asyncio.Task[Record]] = {}
        self._listeners: dict[str, list[Say]] = {}

    async def build(self, steps: list[dict[str, Any]], say: Say) -> Built:
        """The image of these steps, built as far as it is not here.

        Raises:
            ImageBuildError: with the last lines of the step that failed.
        """
        keys = keys_of(steps)
        index, record = self._find(keys, first_forced(steps))
        for position in range(index + 1, len(steps)):
            say(
                f"volant: step {position + 1} of {len(steps)}: {steps[position]['kind']}\n".encode()
            )
            record = await self._once(keys[position], steps[position], record, say)
        return self._built(keys[-1], record)

    def _find(self, keys: list[str], end: int) -> tuple[int, Record]:
        """The last step before `end` that is built already, and its record."""
        for index in range(end - 1, -1, -1):
            record = self._store.record(keys[index])
            if record is not None:
                return index, record
        return -1, Record()

    def _built(self, key: str, record: Record) -> Built:
        layers = [self._store.layer_path(layer) for layer in record.layers]
        for path in PYTHONS:
            found = find(layers, path)
            if found and any(os.path.isfile(layer + found) for layer in layers):
                return Built(image_id(key), tuple(layers), record.settings.env, path)
        raise ImageBuildError(
            "the image has no Python: there is none at " + ", ".join(PYTHONS),
            hint="functions run in an image's own Python; begin with one that has it",
        )

    async def _once(self, key: str, step: dict[str, Any], below: Record, say: Say) -> Record:
        """Build a step, or wait for whoever does; it goes on when this one stops waiting."""
        listeners = self._listeners.setdefault(key, [])
        listeners.append(say)
        task = self._building.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._step(key, step, below))
            self._building[key] = task
            task.add_done_callback(lambda _: self._building.pop(key, None))
        try:
            return await asyncio.shield(task)
        finally:
            listeners.remove(say)
            if not listeners:
                self._listeners.pop(key, None)

    async def _step(self, key: str, step: dict[str, Any], below: Record) -> Record:
        kind = step["kind"]
        if kind in SETTINGS:
            record = Record(below.layers, below.settings.after(step))
        elif kind == "scratch":
            record = Record()
        elif kind == "registry":
            record = await asyncio.to_thread(self._pull, step)
        else:
            await self._make_layer(key, step, below)
            record = Record((*below.layers, key), below.settings)
        self._store.write_record(key, record)
        return record

    async def _make_layer(self, key: str, step: dict[str, Any], below: Record) -> None:
        place = self._store.begin()
        try:
            if step["kind"] == "copy":
                await self._copy(step, below, place)
            else:
                await self._run(key, step, below, place)
            await asyncio.to_thread(self._store.keep, place, key)
        finally:
            await asyncio.to_thread(self._store.discard, place)

    async def _run(self, key: str, step: dict[str, Any], below: Record, place: str) -> None:
        layers = tuple(self._store.layer_path(layer) for layer in below.layers)
        settings = below.settings
        env = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **settings.env}
        argv = (*settings.shell, " && ".join(step["commands"]))
        with self._store.open_log(key) as log:

            def hear(data: bytes) -> None:
                log.write(data)
                for say in self._listeners.get(key, ()):
                    say(data)

            code = await self._run_step(layers, place, argv, {**env, **step.get("env", {})}, hear)
        if code:
            raise ImageBuildError(self._failure(key, step, code))

    def _failure(self, key: str, step: dict[str, Any], code: int) -> str:
        with open(self._store.log_path(key), "rb") as log:
            lines = log.read().decode("utf-8", "replace").splitlines()[-LINES_SHOWN:]
        what = " && ".join(step["commands"])
        text = f"building image {image_id(key)}: `{what}` ended with exit code {code}"
        return "\n".join([text, *(f"  {line}" for line in lines)])

    async def _copy(self, step: dict[str, Any], below: Record, place: str) -> None:
        layers = [self._store.layer_path(layer) for layer in below.layers]
        diff = os.path.join(place, "diff")
        for path, mode, digest, _ in step["files"]:
            content = await self._content(digest)
            found = find(layers, os.path.dirname(path))
            if found is None:
                raise ImageBuildError(
                    f"{path} cannot be copied: its directory is a circle of links"
                )
            target = os.path.join(diff + found, os.path.basename(path))
            await asyncio.to_thread(_write, target, content, mode)

    def _pull(self, step: dict[str, Any]) -> Record:
        try:
            source = oci.RegistrySource(oci.parse_reference(step["reference"]))
            blobs = oci.BlobDirectory(Path(self._store.blobs))
            image = oci.resolve_image(source, blobs, oci.this_machine())
            ids = [self._unpack(layer, blobs, source) for layer in image.layers]
        except oci.OciError as error:
            raise ImageBuildError(error.message, hint=error.hint) from error
        default = Settings()
        return Record(
            tuple(ids), Settings(dict(image.config.env), image.config.shell or default.shell)
        )

    def _unpack(self, layer: oci.Layer, blobs: oci.BlobDirectory, source: oci.Source) -> str:
        layer_id = layer.diff_id.replace(":", "-")
        if not self._store.has_layer(layer_id):
            blob = blobs.obtain(layer.descriptor, source)
            place = self._store.begin()
            try:
                target = os.path.join(place, "diff")
                os.rmdir(target)
                oci.unpack_layer(blob, Path(target), diff_id=layer.diff_id)
                self._store.keep(place, layer_id)
            finally:
                self._store.discard(place)
        return layer_id


def _write(target: str, content: bytes, mode: int) -> None:
    os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
    with open(target, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    os.utime(target, (COPY_TIME_S, COPY_TIME_S))
