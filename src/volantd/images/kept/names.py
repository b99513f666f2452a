"""Published names: `name:tag` -> the image that it means, in one file of the store.

    <home>/images/names.json    {"base:2": {"key": "…", "published_at": 1732621080.2}}

Names in another environment than `main` have its id before them, and `/`. A name is moved by
publishing it again. What it means is written before anybody is told of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from volantd import syncing

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

#: Names of one store.
NAMES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Published:
    """What a name means.

    Attributes:
        key: of the last step of the image.
        published_at: when that was said.
    """

    key: str
    published_at: float


def within(names: Iterable[str], prefix: str) -> list[str]:
    """Of some names those of one environment, as its users know them.

    Args:
        names: as they are here.
        prefix: what names of the environment begin with; "" for `main`.
    """
    if not prefix:
        return [name for name in names if "/" not in name]
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


class Names:
    """The published names of one store."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._names: dict[str, Published] = {}

    def open(self, keys: Container[str]) -> None:
        """Read what is written, but for the names of images that are gone.

        Raises:
            ValueError: when the file is not what it has to be; it is left as it is.
        """
        try:
            with open(self._path, encoding="utf-8") as source:
                fields = json.load(source)
        except FileNotFoundError:
            return
        try:
            known = {str(name): Published(**given) for name, given in fields.items()}
        except (AttributeError, TypeError) as error:
            raise ValueError(f"{self._path} does not hold names of images") from error
        self._names = {name: one for name, one in known.items() if one.key in keys}

    def all(self) -> dict[str, Published]:
        """Every name and what it means."""
        return dict(self._names)

    def key_of(self, name: str) -> str | None:
        """The image that a name means; None when nobody has published it."""
        found = self._names.get(name)
        return None if found is None else found.key

    def of(self, key: str) -> list[str]:
        """The names of an image."""
        return sorted(name for name, one in self._names.items() if one.key == key)

    def publish(self, name: str, key: str, now: float) -> None:
        """Let a name mean an image.

        Raises:
            ValueError: when there are too many names.
            OSError: when it cannot be written; nothing has changed then.
        """
        if name not in self._names and len(self._names) >= NAMES_MAX:
            raise ValueError(f"there are {NAMES_MAX} published names, which is the most")
        self._write({**self._names, name: Published(key, now)})

    def delete(self, names: set[str]) -> None:
        """Let names mean nothing any more.

        Raises:
            OSError: when that cannot be written; nothing has changed then.
        """
        kept = {name: one for name, one in self._names.items() if name not in names}
        if len(kept) < len(self._names):
            self._write(kept)

    def _write(self, names: dict[str, Published]) -> None:
        fields = {name: asdict(one) for name, one in names.items()}
        syncing.replace(self._path, json.dumps(fields).encode())
        self._names = names
