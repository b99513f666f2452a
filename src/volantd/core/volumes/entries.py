"""Entries of a volume, and the nodes that directories are: immutable, known by their hash.

    root entry ─content─► node {name: entry}  ─content─► node ...
                                     └─content─► the content of a file, by its hash

Two directories with the same entries are one node, so a commit costs what it changes, and two
trees are compared without looking at what they share.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE, DIRECTORY, LINK = "f", "d", "l"
KINDS = (FILE, DIRECTORY, LINK)

#: Bytes of a name; of the target of a link; names in a directory; directories above one another;
#: and entries of a volume.
NAME_BYTES_MAX = 255
TARGET_BYTES_MAX = 4095
NAMES_MAX = 262_144
DEPTH_MAX = 200
ENTRIES_MAX = 5_000_000
#: Of one entry: bytes of all names and values of its extended attributes.
XATTR_BYTES_MAX = 64 << 10
#: Largest file.
FILE_BYTES_MAX = 1 << 40

_HEX = frozenset("0123456789abcdef")
DIGEST_CHARS = 64


class Entry(NamedTuple):
    """What a name stands for.

    Attributes:
        kind: FILE, DIRECTORY or LINK.
        mode: permissions, the bits of `0o7777`.
        uid, gid: owners as containers see them.
        mtime_ns: when it was changed, since 1970.
        size: bytes of a file; of a directory, how many entries lie below it.
        content: of a file, the hash that its content is kept by, "" if it has none; the hash of a
            directory's node; the target of a link.
        xattrs: extended attributes, as names and values, sorted.
        group: files of one group are one file with several names; "" for a file with one name.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    content: str
    xattrs: tuple[tuple[str, str], ...] = ()
    group: str = ""


Node = dict[str, Entry]


class Nodes(Protocol):
    """Where nodes are kept."""

    def load(self, digest: str) -> Node:
        """The node of a hash; not to be changed."""

    def save(self, node: Node) -> str:
        """Keep a node; its hash."""


def encode(node: Node) -> bytes:
    """A node as bytes: the same for equal nodes."""
    rows = [[name, *node[name]] for name in sorted(node)]
    return json.dumps(rows, separators=(",", ":")).encode()


def decode(data: bytes) -> Node:
    """A node that was encoded, and kept under its hash.

    Raises:
        ValueError: for what is no node.
    """
    try:
        return {name: from_fields(fields) for name, *fields in json.loads(data)}
    except (TypeError, ValueError) as error:
        raise ValueError("this is no directory of a volume") from error


def from_fields(fields: Sequence[Any]) -> Entry:
    """An entry of the attributes that JSON has kept."""
    kind, mode, uid, gid, mtime_ns, size, content, xattrs, group = fields
    pairs = tuple((name, value) for name, value in xattrs)
    return Entry(kind, mode, uid, gid, mtime_ns, size, content, pairs, group)


def digest_of(data: bytes) -> str:
    """What bytes are known by."""
    return hashlib.sha256(data).hexdigest()


def directory(nodes: Nodes, node: Node, like: Entry) -> Entry:
    """The entry of a directory with these entries, and the other attributes of another one."""
    count = sum(1 + (one.size if one.kind == DIRECTORY else 0) for one in node.values())
    return like._replace(kind=DIRECTORY, size=count, content=nodes.save(node), group="")


def fresh_directory(nodes: Nodes, mtime_ns: int, mode: int = 0o755) -> Entry:
    """An empty directory of root."""
    return Entry(DIRECTORY, mode, 0, 0, mtime_ns, 0, nodes.save({}))


def node_of(nodes: Nodes, entry: Entry | None) -> Node:
    """What lies in an entry: nothing unless it is a directory."""
    return nodes.load(entry.content) if entry is not None and entry.kind == DIRECTORY else {}


def checked(fields: object) -> Entry:
    """An entry that a stranger describes, in the order of its attributes; no directory.

    Raises:
        ValueError: when it is none that a volume may have.
    """
    if not isinstance(fields, list) or len(fields) != len(Entry._fields):
        raise ValueError("an entry of a volume is no list of its attributes")
    kind, mode, uid, gid, mtime_ns, size, content, xattrs, group = fields
    numbers = ((mode, 0o7777), (uid, 1 << 31), (gid, 1 << 31), (size, FILE_BYTES_MAX))
    if any(type(one) is not int or not 0 <= one <= most for one, most in numbers):
        raise ValueError("mode, owner or size of an entry is no number that it may be")
    if type(mtime_ns) is not int or abs(mtime_ns) >= 1 << 63:
        raise ValueError("the time of an entry is no time")
    if not isinstance(content, str) or xattrs != [] or group != "":
        raise ValueError("an entry has what only containers can give it")
    if kind == FILE and is_digest(content) == (size > 0) and (size or content == ""):
        return Entry(kind, mode, uid, gid, mtime_ns, size, content)
    if kind == LINK and 0 < len(as_bytes(content)) <= TARGET_BYTES_MAX and "\0" not in content:
        return Entry(kind, mode, uid, gid, mtime_ns, 0, content)
    raise ValueError("an entry is neither a file nor a link")


def is_digest(text: str) -> bool:
    """Whether a text can be the hash of something."""
    return len(text) == DIGEST_CHARS and _HEX.issuperset(text)


def as_bytes(text: str) -> bytes:
    """A name as the system has it; it may be no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def parts_of(path: str) -> tuple[str, ...]:
    """The names that a path consists of; none for the volume itself.

    Raises:
        ValueError: for a path that leads out of the volume, or has a name that cannot be one.
    """
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if len(parts) > DEPTH_MAX:
        raise ValueError(f"{len(parts)} directories above one another, at most {DEPTH_MAX}")
    for part in parts:
        if part == ".." or "\0" in part:
            raise ValueError(f"{path[:200]!r} cannot be a path in a volume")
        try:
            size = len(as_bytes(part))
        except UnicodeEncodeError:
            raise ValueError(f"{path[:200]!r} cannot be the name of a file") from None
        if size > NAME_BYTES_MAX:
            raise ValueError(f"a name of {size} bytes, at most {NAME_BYTES_MAX}")
    return parts
