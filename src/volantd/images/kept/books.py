"""What the store writes down about images: how each was made, when it was used, what failed.

    <home>/images/records/<key>.json    an image that is there: its layers, its step, its parent
                  drafts/<key>.json   a step that is being built, or whose last build failed
                  used/<key>            somebody has asked for this image; its time says when last
                  logs/<key>.log        what the step printed

All of it is in memory as well, so that looking costs no disk. Files are written elsewhere and
renamed into place: whenever the daemon is killed, what they say is true. A step that has a record
is built, whatever a draft says; one that has only a draft is not.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from time import time as wall_clock
from typing import TYPE_CHECKING, Any

from volantd.images.keys import FORCE, Settings
from volantd.images.redaction import without_accounts

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO

#: The use of an image is written down again after this long, not at each call.
USED_EVERY_S = 60.0
#: Failed builds whose logs are kept.
FAILED_MAX = 100
#: Said of a step that was being built when the daemon was killed.
BROKEN_OFF = "the daemon was killed while it was built"
#: The kind of what stands for a part of a step.
PART = "part"
#: The kind of what stands for a snapshot, and its field that says when it goes; None: never.
SNAPSHOT, EXPIRES_AT = "snapshot", "expires_at"
__all__ = ["Books", "Draft", "Entry", "Record", "wall_clock"]
_PARTS = ("drafts", "logs", "records", "used")


@dataclass(frozen=True, slots=True)
class Record:
    """An image up to some step.

    Attributes:
        layers: ids of its layers, the lowest first.
        settings: what its next step and its containers are run with.
        machine: the image of this machine, as a client describes it, that the layers lie over;
            None where they are all that there is.
        snapshot_count: how many of the layers, from the highest down, are of snapshots.
    """

    layers: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)
    machine: dict[str, Any] | None = None
    snapshot_count: int = 0

    def with_layers(self, *layers: str) -> Record:
        """The image with further layers on top."""
        return replace(self, layers=(*self.layers, *layers), snapshot_count=0)

    def with_snapshot(self, layer: str) -> Record:
        """The image with the layer of a snapshot on top."""
        return replace(self.with_layers(layer), snapshot_count=self.snapshot_count + 1)

    def without_snapshots(self) -> Record:
        """The image without what snapshots have added to it."""
        kept = len(self.layers) - self.snapshot_count
        return replace(self, layers=self.layers[:kept], snapshot_count=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An image that is there.

    Attributes:
        record: what it is made of.
        step: its last one, as the client described it.
        parent: the key of the step before; None for a base.
        created_at: when it was built.
    """

    record: Record
    step: dict[str, Any]
    parent: str | None
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A step that is being built, or whose build has failed.

    Attributes:
        step: as in `Entry`.
        parent: as in `Entry`.
        started_at: when it began.
        error: why it failed.
    """

    step: dict[str, Any]
    parent: str | None
    started_at: float
    error: str = BROKEN_OFF


class Books:
    """What one store knows about its images.

    Attributes:
        entries: the images that are there, by key.
        drafts: steps that are being built or have failed, by key, the oldest first.
        pinned: keys of snapshots, which cannot be made again.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self.entries: dict[str, Entry] = {}
        self.drafts: dict[str, Draft] = {}
        self.pinned: set[str] = set()
        #: keys of the drafts that are being built
        self._open: set[str] = set()
        #: key -> when somebody used the image last; and as it is written down
        self._used: dict[str, float] = {}
        self._written: dict[str, float] = {}

    def open(self, has_layer: Callable[[str], bool]) -> None:
        """Read what is written, and remove what is not true.

        Args:
            has_layer: tells whether a layer is there.
        """
        for part in _PARTS:
            os.makedirs(os.path.join(self._root, part), 0o700, exist_ok=True)
        for key in self._keys("records", ".json"):
            entry = self._read_entry(key)
            if entry is not None and all(map(has_layer, entry.record.layers)):
                self._enter(key, entry)
            else:
                self._unlink("records", f"{key}.json")
        found = {key: self._read_draft(key) for key in self._keys("drafts", ".json")}
        for key, draft in sorted(found.items(), key=lambda pair: _started(pair[1])):
            entry = self.entries.get(key)
            if draft is None or (entry is not None and entry.created_at >= draft.started_at):
                self._unlink("drafts", f"{key}.json")
            else:
                self.drafts[key] = draft
        for key in self._keys("used", ""):
            self._used[key] = self._written[key] = os.stat(self._path("used", key)).st_mtime
        for key in [key for key in self._used if key not in self.entries]:
            self._forget_use(key)
        for key in self._keys("logs", ".log"):
            if key not in self.entries and key not in self.drafts:
                self._unlink("logs", f"{key}.log")
        self._drop_old_drafts()

    # -- building

    def begin(self, key: str, step: dict[str, Any], parent: str | None) -> FileIO:
        """Note that a step is being built; returns its log, empty, for what it will print."""
        self.drafts.pop(key, None)  # to the end of the order
        self._open.add(key)
        self._draft(key, Draft(step=_plain(step), parent=parent, started_at=wall_clock()))
        self._drop_old_drafts()
        return open(self.log_path(key), "wb", buffering=0)

    def fail(self, key: str, error: str) -> None:
        """Note why the build of a step has failed."""
        self._open.discard(key)
        self._draft(key, replace(self.drafts[key], error=error))

    def finish(self, key: str, record: Record) -> None:
        """Note that a step is built; from now on it is there."""
        draft = self.drafts[key]
        entry = Entry(
            record=record, step=draft.step, parent=draft.parent, created_at=wall_clock()
        )  # fmt: skip
        self._write("records", key, asdict(entry))
        self.entries[key] = entry
        self._unlink("drafts", f"{key}.json")
        del self.drafts[key]
        self._open.discard(key)

    def add_part(self, key: str, record: Record, of: str) -> None:
        """Note what a part of a step has made, for the next time that it is built.

        Args:
            key: of the part; no image of its own.
            of: the key of the step.
        """
        self.add(key, record, {"kind": PART, "of": of}, None)

    def add(self, key: str, record: Record, step: dict[str, Any], parent: str | None) -> None:
        """Note an image that no step of a build has made; arguments as the fields of `Entry`."""
        entry = Entry(record=record, step=step, parent=parent, created_at=wall_clock())
        self._write("records", key, asdict(entry))
        self._enter(key, entry)

    def _enter(self, key: str, entry: Entry) -> None:
        self.entries[key] = entry
        if entry.step["kind"] == SNAPSHOT:
            self.pinned.add(key)

    def log_path(self, key: str) -> str:
        """Where a step's output is kept."""
        return self._path("logs", f"{key}.log")

    # -- use

    def use(self, key: str) -> None:
        """Note that somebody uses an image now."""
        now = wall_clock()
        self._used[key] = now
        if now - self._written.get(key, 0.0) >= USED_EVERY_S:
            self._written[key] = now
            path = self._path("used", key)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.utime(path, (now, now))

    def used_at(self, key: str) -> float:
        """When an image was used last, its making included."""
        return max(self._used.get(key, 0.0), self.entries[key].created_at)

    def is_wanted(self, key: str) -> bool:
        """Whether somebody has asked for an image, and not only for others that begin with it."""
        return key in self._used

    # -- the end

    def forget(self, key: str) -> None:
        """Forget an image or a failed build, its log included; its layers are not touched.

        The record goes first: an image is there with all that belongs to it, or not at all.
        """
        self._unlink("records", f"{key}.json")
        self.entries.pop(key, None)
        self.pinned.discard(key)
        self._unlink("drafts", f"{key}.json")
        self.drafts.pop(key, None)
        self._unlink("logs", f"{key}.log")
        self._forget_use(key)

    def _forget_use(self, key: str) -> None:
        self._unlink("used", key)
        self._used.pop(key, None)
        self._written.pop(key, None)

    def _drop_old_drafts(self) -> None:
        failed = [key for key in self.drafts if key not in self._open]
        for key in failed[: max(0, len(failed) - FAILED_MAX)]:
            if key in self.entries:
                self._unlink("drafts", f"{key}.json")
                del self.drafts[key]
            else:
                self.forget(key)

    # -- files

    def _keys(self, part: str, ending: str) -> list[str]:
        names = os.listdir(os.path.join(self._root, part))
        for name in names:
            if name.endswith(".new"):
                self._unlink(part, name)
        return [name.removesuffix(ending) for name in names if name.endswith(ending or name)
                and not name.endswith(".new")]  # fmt: skip

    def _path(self, part: str, name: str) -> str:
        return os.path.join(self._root, part, name)

    def _read(self, part: str, key: str) -> dict[str, Any]:
        with open(self._path(part, f"{key}.json"), encoding="ascii") as source:
            fields: dict[str, Any] = json.load(source)
        return fields

    def _read_entry(self, key: str) -> Entry | None:
        try:
            fields = self._read("records", key)
            given = fields.pop("record")
            lists = {
                name: tuple(value)
                for name, value in given["settings"].items()
                if isinstance(value, list)
            }
            settings = Settings(**{**given["settings"], **lists})
            fields_of_record = {**given, "layers": tuple(given["layers"]), "settings": settings}
            record = Record(**fields_of_record)
            return Entry(record=record, **fields)
        except (ValueError, LookupError, TypeError, AttributeError):
            return None  # cut off by a full disk, or of another version

    def _read_draft(self, key: str) -> Draft | None:
        try:
            return Draft(**self._read("drafts", key))
        except (ValueError, TypeError):
            return None

    def _draft(self, key: str, draft: Draft) -> None:
        self._write("drafts", key, asdict(draft))
        self.drafts[key] = draft

    def _write(self, part: str, key: str, fields: dict[str, Any]) -> None:
        path = self._path(part, f"{key}.json")
        with open(f"{path}.new", "w", encoding="ascii") as target:
            json.dump(fields, target)
        os.replace(f"{path}.new", path)

    def _unlink(self, part: str, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(part, name))


def _started(draft: Draft | None) -> float:
    return 0.0 if draft is None else draft.started_at


def _plain(step: dict[str, Any]) -> dict[str, Any]:
    """What is written down of a step, and shown: its key vouches for the whole of it."""
    told = {name: value for name, value in step.items() if name != FORCE}
    plain: dict[str, Any] = without_accounts(told)
    return plain
