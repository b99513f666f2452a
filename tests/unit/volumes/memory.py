"""Nodes in memory, and entries for tests of trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.volumes.entries import FILE, Entry, decode, digest_of, encode

if TYPE_CHECKING:
    from volantd.core.volumes.entries import Node


class MemoryNodes:
    """Nodes that are kept encoded, as a store keeps them."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load(self, digest: str) -> Node:
        return decode(self.kept[digest])

    def save(self, node: Node) -> str:
        data = encode(node)
        digest = digest_of(data)
        self.kept[digest] = data
        return digest


def file(text: str, mode: int = 0o644) -> Entry:
    """A file of root with a content."""
    return Entry(FILE, mode, 0, 0, 0, len(text), digest_of(text.encode()) if text else "")
