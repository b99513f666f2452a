"""What people see of the store: rows of images, one image in full, and logs.

Looks only. Images are those that somebody asked for, has named or uses, and the ends of chains;
steps that only others are built on show in these. A failed build is an image as well, by the id
that its error names.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from volant.errors import ImageBuildError
from volantd.images.kept import shelf
from volantd.images.kept.books import PART
from volantd.images.keys import image_id
from volantd.images.redaction import text_of
from volantd.images.workbench import find_python

if TYPE_CHECKING:
    from collections.abc import Mapping

    from volantd.images.builder import Build, Builder
    from volantd.images.kept.books import Record
    from volantd.images.store import Store

#: Bytes of one piece of a log.
PIECE_BYTES = 256 << 10


class Catalogue:
    """Shows the images of a store.

    Args:
        store: where they lie.
        builder: builds them.
    """

    def __init__(self, store: Store, builder: Builder) -> None:
        self._store = store
        self._builder = builder

    # -- what there is

    def keys(self) -> list[str]:
        """Whatever has an id: images, steps of images, builds that go on or failed."""
        books = self._store.books
        building = (key for build in self._builder.builds for key in build.keys)
        built = (key for key, entry in books.entries.items() if entry.step["kind"] != PART)
        return list(dict.fromkeys([*built, *books.drafts, *building, *self._builder.failed]))

    def find(self, wanted: str) -> list[str]:
        """The keys whose ids begin like this, the one that is meant alone if it is whole."""
        known = {key: image_id(key) for key in self.keys()}
        exact = [key for key, one in known.items() if one == wanted]
        return exact or [key for key, one in known.items() if one.startswith(wanted)]

    def state(self, key: str) -> str:
        """`built`, `building` or `failed`."""
        if key in self._builder.benches:
            return "building"
        if key in self._store.books.entries:
            return "built"
        return "building" if self._builder.building(key) is not None else "failed"

    def rows(self, users: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        """Every image as a list shows it, the one that was made first at the beginning.

        Args:
            users: key -> names of the apps that use it.
        """
        books, store, names = self._store.books, self._store, self._store.names
        parents = {entry.parent for entry in books.entries.values()}
        shown = [
            key
            for key, entry in books.entries.items()
            if entry.step["kind"] != PART
            and (key not in parents or books.is_wanted(key) or key in users or names.of(key))
        ]
        shares = shelf.shares({key: books.entries[key].record.layers for key in shown}, store.sizes)
        targets = [build.keys[-1] for build in self._builder.builds]
        others = [key for key in [*books.drafts, *targets] if key not in books.entries]
        rows = []
        for key in dict.fromkeys([*shown, *others]):
            own, shared = shares.get(key, (0, 0))
            created, used = self._times(key)
            chain = self.chain(key)
            rows.append({
                "image_id": image_id(key), "base": self._text(chain[0]), "steps": len(chain) - 1,
                "names": names.of(key), "apps": users.get(key, []),
                "created_at": created, "used_at": used,
                "own_bytes": own, "shared_bytes": shared, "state": self.state(key),
            })  # fmt: skip
        return sorted(rows, key=lambda row: row["created_at"] or float("inf"))

    def _times(self, key: str) -> tuple[float | None, float | None]:
        books = self._store.books
        if key in books.entries:
            return books.entries[key].created_at, books.used_at(key)
        draft = books.drafts.get(key)
        return (None, None) if draft is None else (draft.started_at, draft.started_at)

    def chain(self, key: str) -> list[str]:
        """The steps of an image by key, the base first."""
        build = self._build(key)
        begun = [key] if build is None else build.keys[: build.keys.index(key) + 1]
        found, seen = begun[::-1], set(begun)
        while (before := self._parent(found[-1])) is not None and before not in seen:
            seen.add(before)
            found.append(before)
        return found[::-1]

    def _build(self, key: str) -> Build | None:
        return self._builder.building(key) or self._builder.failed.get(key)

    def _parent(self, key: str) -> str | None:
        books = self._store.books
        one = books.entries.get(key) or books.drafts.get(key)
        return None if one is None else one.parent

    def _step(self, key: str) -> dict[str, Any]:
        books = self._store.books
        one = books.entries.get(key) or books.drafts.get(key)
        if one is not None:
            return one.step
        build = self._build(key)
        if build is None:
            return {"kind": "gone"}
        return build.steps[build.keys.index(key)]

    def _text(self, key: str) -> str:
        return text_of(self._step(key))

    # -- one image

    def inspect(self, key: str, users: Mapping[str, list[str]]) -> dict[str, Any]:
        """Everything about one image."""
        books, store = self._store.books, self._store
        created, used = self._times(key)
        draft, entry = books.drafts.get(key), books.entries.get(key)
        found: dict[str, Any] = {
            "image_id": image_id(key), "state": self.state(key), "names": store.names.of(key),
            "apps": users.get(key, []), "created_at": created, "used_at": used,
            "error": None if draft is None or entry is not None else draft.error,
            "steps": [self._shown_step(one) for one in self.chain(key)],
        }  # fmt: skip
        if entry is not None:
            settings = entry.record.settings
            found |= {
                "python": self._python(entry.record),
                "env": settings.env, "workdir": settings.workdir, "shell": list(settings.shell),
                "entrypoint": list(settings.entrypoint), "cmd": list(settings.cmd),
                "layers": [
                    {"id": layer, "size_bytes": store.sizes.get(layer)}
                    for layer in entry.record.layers
                ],
                "size_bytes": sum(store.sizes.get(one, 0) for one in set(entry.record.layers)),
            }  # fmt: skip
        return found

    def _python(self, record: Record) -> str | None:
        try:
            layers = [self._store.layer_path(layer) for layer in record.layers]
            return find_python(layers, record.machine)
        except ImageBuildError:
            return None

    def _shown_step(self, key: str) -> dict[str, Any]:
        """A step with the layers that it has added, as far as it is built."""
        entries = self._store.books.entries
        entry, parent = entries.get(key), self._parent(key)
        below = entries[parent].record.layers if parent in entries else ()
        own = [] if entry is None else [one for one in entry.record.layers if one not in below]
        return {
            "image_id": image_id(key), "kind": self._step(key)["kind"], "text": self._text(key),
            "state": self.state(key), "layers": len(own),
            "size_bytes": sum(self._store.sizes.get(layer, 0) for layer in own),
        }  # fmt: skip

    # -- logs

    def log_piece(self, key: str, step: int, offset: int) -> dict[str, Any] | None:
        """The next piece of an image's log: what its steps printed, one after the other.

        Args:
            key: of the image.
            step: index of the step that was read last; -1 at the beginning.
            offset: bytes of it that were read.

        Returns:
            The piece and the place behind it, or that this is the end; None while a build has
            nothing new. Each step begins with a piece of its own, which is empty.
        """
        chain = self.chain(key)
        if 0 <= step < len(chain):
            data = self._log(chain[step], offset)
            state = self.state(chain[step])
            if data:
                return {"step": step, "offset": offset + len(data), "data": data}
            if state == "building":
                return None
            if state == "failed":
                step = len(chain)
        if step + 1 >= len(chain):
            return {"step": step, "offset": offset, "data": b"", "end": self.state(key)}
        begun = {
            "image_id": image_id(chain[step + 1]), "number": step + 2, "count": len(chain),
            "text": self._text(chain[step + 1]), "at": self._times(chain[step + 1])[0],
        }  # fmt: skip
        return {"step": step + 1, "offset": 0, "data": b"", "begins": begun}

    def _log(self, key: str, offset: int) -> bytes:
        try:
            with open(self._store.books.log_path(key), "rb") as log:
                if offset > os.fstat(log.fileno()).st_size:
                    return b""
                log.seek(offset)
                return log.read(PIECE_BYTES)
        except FileNotFoundError:
            return b""  # it has not begun
