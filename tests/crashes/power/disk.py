"""A disk as a record tells of it: what is surely on it, and what is only on its way.

A sync of a file puts its bytes there, one of a directory the names in it. What else was written
until the cut is there or not, as chance has it:

- a write: each sector of it by itself;
- names in one directory: the first of what was done, up to some point;
- what moves a name to another directory takes it out of the old one only if it puts it into the
  new one.

Nothing else is promised by POSIX; most file systems do more, and `Mode` has what those do.
"""

from __future__ import annotations

import posixpath
import struct
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: size of what follows, sizes of path and other path, operation, mode, inode, offset
HEAD = struct.Struct("<IHHIIQQ")
#: What a disk writes whole, by its kind; of more than that it may write a part.
SECTORS = (512, 4096)


class Op(IntEnum):
    """What an entry is about; in the order of `record.c`, and what the load adds."""

    ROOT = 0
    CREATE = 1
    WRITE = 2
    TRUNCATE = 3
    MKDIR = 4
    UNLINK = 5
    RMDIR = 6
    RENAME = 7
    LINK = 8
    SYMLINK = 9
    SYNC = 10
    SYNC_ALL = 11
    TOLD = 12


class Mode(Enum):
    """What of that which was not synced is there after a cut."""

    NOTHING = "nothing"
    NAMES = "names, no bytes"
    BYTES = "bytes, no names"
    SOME = "some, in sectors"
    ALL = "everything"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a record; it begins at byte `at`."""

    at: int
    op: Op
    mode: int
    inode: int
    offset: int
    path: str
    other: str
    data: bytes


def entries(record: bytes) -> Iterator[Entry]:
    """All of a record; the last one may be cut off."""
    at = 0
    while at + HEAD.size <= len(record):
        size, path_size, other_size, op, mode, inode, offset = HEAD.unpack_from(record, at)
        begin = at + HEAD.size
        if begin + size > len(record):
            return
        body = record[begin : begin + size]
        path, other = body[:path_size].decode(), body[path_size : path_size + other_size].decode()
        yield Entry(at, Op(op), mode, inode, offset, path, other, body[path_size + other_size :])
        at = begin + size


def told(text: bytes) -> bytes:
    """An entry that says what was acknowledged."""
    return HEAD.pack(len(text), 0, 0, Op.TOLD, 0, 0, 0) + text


@dataclass(eq=False, slots=True)
class File:
    """A file: bytes that are on the disk, and writes on their way: (at, offset, bytes).

    Bytes of None cut it off at the offset, or lengthen it to there.
    """

    mode: int = 0o600
    #: of a symbolic link
    target: str = ""
    #: names that it has now
    links: int = 0
    kept: bytearray = field(default_factory=bytearray)
    coming: list[tuple[int, int, bytes | None]] = field(default_factory=list)

    def sync(self, before: int) -> None:
        """Put what was written before some byte of the record onto the disk."""
        for at, offset, data in self.coming:
            if at < before:
                _apply(self.kept, offset, data)
        self.coming = [one for one in self.coming if one[0] >= before]

    def content(self, mode: Mode, chance: random.Random) -> bytes:
        """What it contains after a cut."""
        if mode in {Mode.NOTHING, Mode.NAMES}:
            return bytes(self.kept)
        found = bytearray(self.kept)
        sector = chance.choice(SECTORS)
        for _, offset, data in self.coming:
            if mode is not Mode.SOME:
                _apply(found, offset, data)
            elif data is None:
                if chance.random() < 0.5:
                    _apply(found, offset, None)
            else:
                for first, piece in _sectors(offset, data, sector):
                    if chance.random() < 0.5:
                        _apply(found, first, piece)
        return bytes(found)


@dataclass(eq=False, slots=True)
class Change:
    """One name of a directory, or two at once, that stand for something else from now on.

    Attributes:
        at: where it is in the record.
        names: what they stood for, and what they do now; None is nothing.
        needs: what has to have come true, of what takes a name out that goes elsewhere.
    """

    at: int
    names: list[tuple[str, Node | None, Node | None]]
    needs: Change | None = None
    is_kept: bool = False

    def apply(self, names: dict[str, Node]) -> None:
        """Have it come true."""
        for name, before, after in self.names:
            if after is not None:
                names[name] = after
            elif names.get(name) is before:
                names.pop(name, None)


@dataclass(eq=False, slots=True)
class Directory:
    """A directory: names that are on the disk, changes on their way, and how it looks now."""

    mode: int = 0o700
    kept: dict[str, Node] = field(default_factory=dict)
    coming: list[Change] = field(default_factory=list)
    now: dict[str, Node] = field(default_factory=dict)

    def change(self, change: Change) -> None:
        """Do something to its names."""
        change.apply(self.now)
        self.coming.append(change)

    def sync(self, before: int) -> None:
        """Put what was done before some byte of the record onto the disk."""
        rest = []
        for one in self.coming:
            if one.at < before and (one.needs is None or one.needs.is_kept):
                one.apply(self.kept)
                one.is_kept = True
            else:
                rest.append(one)
        self.coming = rest


Node = File | Directory


class Disk:
    """A directory and all below it, while a record is gone through."""

    def __init__(self) -> None:
        self.root = Directory()
        self._directories = [self.root]
        self._inodes: dict[int, Node] = {}

    def take(self, entry: Entry) -> None:
        """Go on by one entry."""
        node = self._inodes.get(entry.inode)
        match entry.op:
            case Op.ROOT:
                self._inodes[entry.inode] = self.root
            case Op.CREATE | Op.MKDIR | Op.SYMLINK | Op.LINK:
                self._add(entry)
            case Op.UNLINK | Op.RMDIR:
                self._move(entry.at, entry.path, "")
            case Op.RENAME:
                self._move(entry.at, entry.path, entry.other)
            case Op.WRITE if isinstance(node, File):
                node.coming.append((entry.at, entry.offset, entry.data))
            case Op.TRUNCATE if isinstance(node, File):
                node.coming.append((entry.at, entry.offset, None))
            case Op.SYNC if node is not None:
                node.sync(entry.offset)
            case Op.SYNC_ALL:
                for one in (*self._directories, *self._inodes.values()):
                    one.sync(entry.offset)

    def _add(self, entry: Entry) -> None:
        node: Node
        if entry.op is Op.MKDIR:
            node = Directory(mode=entry.mode & 0o7777)
            self._directories.append(node)
        elif entry.op is Op.LINK and entry.inode in self._inodes:
            node = self._inodes[entry.inode]
        else:
            node = File(mode=entry.mode & 0o7777, target=entry.other)
        if entry.inode:
            self._inodes[entry.inode] = node
        found = self._find(entry.path) if entry.path else None
        if found is not None:
            directory, name = found
            self._let_go(directory.now.get(name))
            directory.change(Change(entry.at, [(name, directory.now.get(name), node)]))
            if isinstance(node, File):
                node.links += 1

    def _move(self, at: int, path: str, to: str) -> None:
        """Take a name away, or give what it stands for another one."""
        source, target = self._find(path), self._find(to)
        node = None if source is None else source[0].now.get(source[1])
        if source is None or node is None:
            return
        gone = (source[1], node, None)
        if target is None:
            self._let_go(node)
            source[0].change(Change(at, [gone]))
            return
        before = target[0].now.get(target[1])
        if before is node:
            return  # two names of one file: nothing happens
        self._let_go(before)
        come = (target[1], before, node)
        if source[0] is target[0]:
            source[0].change(Change(at, [gone, come]))
            return
        moved = Change(at, [come])
        target[0].change(moved)
        source[0].change(Change(at, [gone], needs=moved))

    def _let_go(self, node: Node | None) -> None:
        """A name of something is gone; who has none is written to no more."""
        if isinstance(node, File):
            node.links -= 1
            if node.links == 0:
                for inode in [one for one, known in self._inodes.items() if known is node]:
                    del self._inodes[inode]

    def _find(self, path: str) -> tuple[Directory, str] | None:
        """A directory and a name in it; None where only others have made what is above it."""
        *above, name = posixpath.normpath(path).split("/")
        directory: Node | None = self.root
        for one in above:
            if not isinstance(directory, Directory):
                return None
            directory = directory.now.get(one)
        return (directory, name) if path and isinstance(directory, Directory) else None

    # -- after a cut

    def cut(self, place: Path, mode: Mode, chance: random.Random) -> None:
        """Make the directory, in a new place, as it may be if the power goes now."""
        made: set[int] = set()
        for directory in self._directories:
            count = len(directory.coming)
            if mode in {Mode.NOTHING, Mode.BYTES}:
                count = 0
            elif mode is Mode.SOME:
                count = chance.randint(0, count)
            made.update(map(id, directory.coming[:count]))
        self._write(self.root, place, lambda one: id(one) in made, mode, chance, {})

    def _write(
        self, directory: Directory, place: Path, is_made: Callable[[Change], bool], mode: Mode,
        chance: random.Random, written: dict[int, Path],
    ) -> None:  # fmt: skip
        place.mkdir()
        names = dict(directory.kept)
        for change in directory.coming:
            needs = change.needs
            if is_made(change) and (needs is None or needs.is_kept or is_made(needs)):
                change.apply(names)
        for name, node in names.items():
            path = place / name
            if isinstance(node, Directory):
                self._write(node, path, is_made, mode, chance, written)
            elif id(node) in written:
                path.hardlink_to(written[id(node)])
            elif node.target:
                path.symlink_to(node.target)
            else:
                path.write_bytes(node.content(mode, chance))
                path.chmod(node.mode)
                written[id(node)] = path
        place.chmod(directory.mode)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is not None:
        content[offset : offset + len(data)] = data


def _sectors(offset: int, data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """Pieces of a write as sectors have them: offset and bytes."""
    at = 0
    while at < len(data):
        end = at + size - (offset + at) % size
        yield offset + at, data[at:end]
        at = end
