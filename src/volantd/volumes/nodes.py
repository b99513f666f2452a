"""Nodes of trees among the contents: read through a cache, written many at a time."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from volantd.core.volumes.entries import decode, digest_of, encode

if TYPE_CHECKING:
    from volantd.blobs.contents import Contents
    from volantd.core.volumes.entries import Node

#: Entries of the nodes that are kept decoded.
CACHED_ENTRIES_MAX = 500_000


class LostContentError(Exception):
    """What a volume names is not there: its files were damaged."""


class StoredNodes:
    """The nodes in a store; one for each piece of work, which is done by one thread."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._cache: OrderedDict[str, Node] = OrderedDict()
        self._cached_count = 0
        self._unwritten: dict[str, bytes] = {}

    def load(self, digest: str) -> Node:
        """The node of a hash; not to be changed.

        Raises:
            LostContentError: when it is not there.
        """
        node = self._cache.get(digest)
        if node is not None:
            self._cache.move_to_end(digest)
            return node
        data = self._unwritten.get(digest)
        if data is None:
            data = self._contents.get(digest)
        if data is None:
            raise LostContentError(f"the directory {digest} of a volume is lost")
        node = decode(data)
        self._keep(digest, node)
        return node

    def save(self, node: Node) -> str:
        """Take a node; it is written by `flush`."""
        data = encode(node)
        digest = digest_of(data)
        self._unwritten[digest] = data
        self._keep(digest, node)
        return digest

    def flush(self) -> None:
        """Write what was taken; on the disk when this returns."""
        self._contents.put(self._unwritten.items())
        self._unwritten.clear()

    def _keep(self, digest: str, node: Node) -> None:
        if digest in self._cache:
            return
        self._cache[digest] = node
        self._cached_count += len(node)
        while self._cached_count > CACHED_ENTRIES_MAX and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._cached_count -= len(oldest)
