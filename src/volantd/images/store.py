"""Images on disk: layers as directories, and for each step built a record of what lies below it.

    <home>/images/layers/<id>/diff     the files of one layer, owners as its containers see them
                  records/<key>.json   the layers of an image up to this step, and its settings
                  blobs/               what registries sent, by digest
                  logs/<key>.log       what the step printed
                  caches/              what build steps keep for later ones, under hashed names
                  uv/                  what `packages` shares among images
                  work/                what is being made; nothing in it survives the daemon

A layer is made in `work` and renamed into place, then its record is: a daemon that is killed in
between leaves a layer that nobody knows, and never half of one. The directory is its user's
alone: layers hold programs that would run with their owner's rights.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from volantd.images.keys import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO

#: Links that lead from one to the next, as many as the kernel follows.
_LINKS_MAX = 40
#: What is read of a text of an image.
_TEXT_CHARS_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """An image up to some step.

    Attributes:
        layers: ids of its layers, the lowest first.
        settings: what its next step and its containers are run with.
    """

    layers: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)

    def with_layers(self, *layers: str) -> Record:
        """The image with further layers on top."""
        return Record((*self.layers, *layers), self.settings)


class Store:
    """The images of one daemon home."""

    def __init__(self, home: str) -> None:
        self._root = os.path.join(home, "images")
        self.blobs = self._part("blobs")
        self.uv = self._part("uv")
        self._work = self._part("work")

    def _part(self, name: str) -> str:
        return os.path.join(self._root, name)

    def open(self) -> None:
        """Make the directories, and remove what a killed daemon was making."""
        for unfinished in (self._work, os.path.join(self.uv, "out")):
            shutil.rmtree(unfinished, ignore_errors=True)
        os.makedirs(self._root, 0o700, exist_ok=True)
        for name in ("blobs", "caches", "layers", "logs", "records", "uv", "work"):
            os.makedirs(self._part(name), 0o700, exist_ok=True)

    def cache_dir(self, name: str) -> str:
        """A directory that build steps share under a name; what is in it may vanish."""
        path = os.path.join(self._part("caches"), hashlib.sha256(name.encode()).hexdigest())
        os.makedirs(path, 0o755, exist_ok=True)
        return path

    def begin(self) -> str:
        """A fresh directory for a layer that is being made: `diff` and `work`, both empty."""
        place = tempfile.mkdtemp(dir=self._work)
        for name in ("diff", "work"):
            os.mkdir(os.path.join(place, name), 0o755)
        return place

    def clear_work(self, place: str) -> None:
        """Make a place fit for one more command: what the last one's overlay left goes."""
        work = os.path.join(place, "work")
        shutil.rmtree(work)
        os.mkdir(work, 0o755)

    def discard(self, place: str) -> None:
        """Remove what `begin` made, and whatever came to lie there."""
        shutil.rmtree(place, ignore_errors=True)

    def keep(self, place: str, layer_id: str) -> None:
        """Make what lies in `place` a layer.

        One of this id that is there already is moved away, not removed: containers may run on it.
        """
        target = os.path.join(self._part("layers"), layer_id)
        shutil.rmtree(os.path.join(place, "work"))
        if os.path.lexists(target):
            os.rename(target, os.path.join(self._work, f"{os.path.basename(place)}-old"))
        os.rename(place, target)

    def has_layer(self, layer_id: str) -> bool:
        """Whether a layer is here."""
        return os.path.isdir(self.layer_path(layer_id))

    def newest_layer(self, beginning: str) -> str | None:
        """The id of the layer that was made last of those whose ids begin so."""
        found = [name for name in os.listdir(self._part("layers")) if name.startswith(beginning)]
        return max(found, key=lambda name: os.stat(self.layer_path(name)).st_ctime_ns, default=None)

    def layer_path(self, layer_id: str) -> str:
        """The directory with the files of a layer."""
        return os.path.join(self._part("layers"), layer_id, "diff")

    def record(self, key: str) -> Record | None:
        """What is known of an image, if all its layers are here."""
        try:
            with open(self._record_path(key), encoding="ascii") as source:
                fields = json.load(source)
        except FileNotFoundError:
            return None
        given: dict[str, Any] = fields["settings"]
        lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
        settings = Settings(**{**given, **lists})
        record = Record(tuple(fields["layers"]), settings)
        return record if all(self.has_layer(layer) for layer in record.layers) else None

    def write_record(self, key: str, record: Record) -> None:
        """Note what an image is made of."""
        path = self._record_path(key)
        with open(f"{path}.new", "w", encoding="ascii") as target:
            json.dump(asdict(record), target)
        os.replace(f"{path}.new", path)

    def open_log(self, key: str) -> FileIO:
        """A step's log, empty, for what it will print; what is written can be read at once."""
        return open(self.log_path(key), "wb", buffering=0)

    def log_path(self, key: str) -> str:
        """Where a step's output is kept."""
        return os.path.join(self._part("logs"), f"{key}.log")

    def _record_path(self, key: str) -> str:
        return os.path.join(self._part("records"), f"{key}.json")


def find(layers: Sequence[str], path: str) -> str | None:
    """Where a path of an image leads, all links followed inside the image; None: nowhere.

    Args:
        layers: directories, the lowest first.
        path: absolute, in the image.

    Returns:
        The path without links; its last part need not exist, all others are directories.
    """
    done, rest, links = "", path.strip("/").split("/"), 0
    while rest:
        part = rest.pop(0)
        if part in {"", "."}:
            continue
        if part == "..":
            done = os.path.dirname(done)
            continue
        lead = _link_at(layers, f"{done}/{part}")
        if lead is None:
            done = f"{done}/{part}"
            continue
        links += 1
        if links > _LINKS_MAX:
            return None
        if lead.startswith("/"):
            done = ""
        rest = [*lead.split("/"), *rest]
    return done or "/"


def text_in(layers: Sequence[str], path: str) -> str:
    """A text of an image, as far as is sensible to read; empty when it is not there.

    Args:
        layers: directories, the lowest first.
        path: absolute, in the image.
    """
    found = find(layers, path)
    for layer in reversed(layers):
        if found and os.path.isfile(layer + found):
            with open(layer + found, encoding="utf-8", errors="replace") as file:
                return file.read(_TEXT_CHARS_MAX)
    return ""


def has_file(layers: Sequence[str], path: str) -> bool:
    """Whether a path of an image leads to a plain file."""
    found = find(layers, path)
    return found is not None and any(os.path.isfile(layer + found) for layer in layers)


def _link_at(layers: Sequence[str], path: str) -> str | None:
    """What the link at a path says; None when the highest layer that has the path has no link."""
    for layer in reversed(layers):
        try:
            return os.readlink(layer + path)
        except FileNotFoundError:
            continue
        except OSError:
            return None  # there, and no link
    return None
