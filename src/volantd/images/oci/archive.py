"""The entries of a tar archive, read once from front to back.

Owns the formats that layers are written in: old tar, ustar, GNU (long names, large numbers) and
PAX (paths, links, sizes, owners, times). Where formats let two readers see two different things,
what Docker's reader sees is taken, or the archive is refused. Why not `tarfile`: it holds headers
of any size in memory, believes negative sizes, expands sparse files, and decodes names.
Invariant: whatever the bytes are, the answer is entries or an `OciError`; memory is bounded.

Source: https://www.gnu.org/software/tar/manual/html_node/Standard.html,
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html, Go's archive/tar
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volantd.images.oci.errors import OciError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volantd.images.oci.stream import LayerStream

_BLOCK_BYTES = 512
_ZEROS = bytes(_BLOCK_BYTES)
#: Bytes of the headers that precede an entry: long names and PAX records.
_EXTENSION_BYTES_MAX = 1 << 20
#: No user or group has a larger number; the one after it means "leave it as it is".
ID_MAX = (1 << 32) - 2
#: Seconds since 1970 that file systems keep: until the year 2446.
_TIME_S_MAX = (1 << 34) - 1
_CHUNK_BYTES = 256 << 10
_OCTAL = re.compile(rb"[0-7]*")
_RECORD_SIZE = re.compile(rb"([0-9]{1,7}) ")
_TIME = re.compile(rb"(-?)([0-9]{1,19})(?:\.([0-9]*))?")


class Kind(enum.Enum):
    """What an entry is."""

    #: a file with content
    FILE = enum.auto()
    #: a directory
    DIRECTORY = enum.auto()
    #: a symbolic link; `link` is what it says
    SYMLINK = enum.auto()
    #: a further name of the file that `link` names
    HARDLINK = enum.auto()
    #: a named pipe
    FIFO = enum.auto()
    #: a device of blocks or characters
    DEVICE = enum.auto()


_KINDS = {
    b"\0": Kind.FILE, b"0": Kind.FILE, b"7": Kind.FILE, b"1": Kind.HARDLINK, b"2": Kind.SYMLINK,
    b"3": Kind.DEVICE, b"4": Kind.DEVICE, b"5": Kind.DIRECTORY, b"6": Kind.FIFO,
}  # fmt: skip
_GNU_NAME, _GNU_LINK, _PAX, _PAX_GLOBAL, _GNU_SPARSE = b"L", b"K", b"x", b"g", b"S"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What an archive says about one file.

    Attributes:
        name: as it stands there: any bytes but NUL, not checked otherwise.
        mode: permission bits with those for setuid, setgid and sticky.
        mtime_ns: since 1970; what file systems cannot keep is cut off.
        size: bytes of its content; 0 for all but files.
        link: as `name`; empty for all but links.
    """

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    link: bytes


class Archive:
    """An archive at its beginning."""

    def __init__(self, stream: LayerStream) -> None:
        self._stream = stream
        #: bytes of content and padding before the next header
        self._content_left = self._padding_left = 0

    def entries(self) -> Iterator[Entry]:
        """One after another; what was not read of an entry's content is skipped."""
        pax: dict[bytes, bytes] = {}
        long: dict[bytes, bytes] = {}
        while (header := self._header()) is not None:
            kind = header[156:157]
            if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
                content = self._extension(_number(header, 124, 12, "size"))
                if kind == _PAX:
                    pax = _pax_records(content)
                elif kind != _PAX_GLOBAL:  # of no effect in Docker either
                    long[kind] = content.partition(b"\0")[0]
                continue
            entry = _entry(header, pax, long)
            self._expect(entry.size)
            yield entry
            pax, long = {}, {}
        if pax or long:
            raise OciError("the layer's archive ends in the middle of an entry")

    def content(self) -> Iterator[bytes]:
        """The bytes of the entry that came last, in pieces."""
        while self._content_left:
            data = self._stream.read(min(self._content_left, _CHUNK_BYTES))
            if not data:
                raise OciError("the layer's archive ends in the middle of a file")
            self._content_left -= len(data)
            yield data

    def _expect(self, size: int) -> None:
        self._content_left, self._padding_left = size, -size % _BLOCK_BYTES

    def _header(self) -> bytes | None:
        """The next block that is not content; None at the end."""
        for _ in self.content():
            pass
        self._exactly(self._padding_left)
        self._padding_left = 0
        block = self._exactly(_BLOCK_BYTES, may_end=True)
        if block == _ZEROS:
            if self._exactly(_BLOCK_BYTES, may_end=True) not in (b"", _ZEROS):
                raise OciError("the layer's archive goes on behind its end")
            return None
        if block:
            _check_sum(block)
        return block or None

    def _extension(self, size: int) -> bytes:
        if size > _EXTENSION_BYTES_MAX:
            raise OciError(f"the layer's archive has a header of {size} bytes")
        self._expect(size)
        return b"".join(self.content())

    def _exactly(self, size: int, *, may_end: bool = False) -> bytes:
        """So many bytes, or none if the archive may end here and does."""
        block = self._stream.read(size) if size else b""
        if may_end and not block:
            return b""
        while len(block) < size:
            data = self._stream.read(size - len(block))
            if not data:
                raise OciError("the layer's archive ends in the middle of a block")
            block += data
        return block


def _check_sum(block: bytes) -> None:
    """Some old writers summed signed bytes."""
    rest = block[:148] + b" " * 8 + block[156:]
    digits, unsigned = block[148:156].strip(b" \0"), sum(rest)
    said = int(digits, 8) if digits and _OCTAL.fullmatch(digits) else -1
    if said != unsigned and said != unsigned - 256 * sum(byte > 127 for byte in rest):
        raise OciError("the layer is not a tar archive, or a broken one")


def _number(block: bytes, start: int, size: int, what: str) -> int:
    """A field of digits to the base 8, or of bytes where the number did not fit."""
    field = block[start : start + size]
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * size - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * size - 1)
        return _not_negative(value, what)
    digits = field.strip(b" \0")
    if _OCTAL.fullmatch(digits) is None:
        raise OciError(f"the layer's archive has a {what} of {shown(digits)}")
    return int(digits or b"0", 8)


def _not_negative(value: int, what: str) -> int:
    if value < 0 and what != "time":
        raise OciError(f"the layer's archive has a {what} of {value}")
    return value


def _text(block: bytes, start: int, size: int) -> bytes:
    return block[start : start + size].partition(b"\0")[0]


def _pax_records(content: bytes) -> dict[bytes, bytes]:
    """`12 name=value` and a new line, again and again; the number counts all of it."""
    records: dict[bytes, bytes] = {}
    offset = 0
    while offset < len(content):
        match = _RECORD_SIZE.match(content, offset)
        end = offset + int(match[1]) if match is not None else offset
        start = match.end() if match is not None else end
        name, equals, value = content[start : end - 1].partition(b"=")
        if end > len(content) or content[end - 1 : end] != b"\n" or not equals or not name:
            record = content[offset : offset + 80]
            raise OciError(f"the layer's archive has a broken record: {shown(record)}")
        if name.startswith(b"GNU.sparse."):
            raise _sparse(records.get(b"path", b""))
        records[name] = value
        offset = end
    return records


def _sparse(name: bytes) -> OciError:
    hint = "write the archive without sparse files; a compressed layer gains nothing by them"
    return OciError(f"{shown(name)} in the layer is a sparse file", hint=hint)


def _entry(header: bytes, pax: dict[bytes, bytes], long: dict[bytes, bytes]) -> Entry:
    name = _text(header, 0, 100)
    if header[257:263] == b"ustar\0":
        # The archiver `star` keeps times behind a shorter prefix.
        prefix = _text(header, 345, 131 if header[508:] == b"tar\0" else 155)
        name = prefix + b"/" + name if prefix else name
    name = long.get(_GNU_NAME) or pax.get(b"path") or name
    link = long.get(_GNU_LINK) or pax.get(b"linkpath") or _text(header, 157, 100)
    letter = header[156:157]
    if letter == _GNU_SPARSE:
        raise _sparse(name)
    kind = _KINDS.get(letter)
    if kind is None:
        raise OciError(f"{shown(name)} in the layer is of an unknown kind, {shown(letter)}")
    if letter == b"\0" and name.endswith(b"/"):
        kind = Kind.DIRECTORY  # as written before there was a letter for it
    if b"\0" in name or b"\0" in link:
        raise OciError(f"{shown(name)} in the layer has a NUL in its name or link")
    uid = _pax_number(pax, b"uid", _number(header, 108, 8, "user"))
    gid = _pax_number(pax, b"gid", _number(header, 116, 8, "group"))
    if max(uid, gid) > ID_MAX:
        raise OciError(f"{shown(name)} in the layer belongs to {uid}:{gid}, which nobody is")
    size = _pax_number(pax, b"size", _number(header, 124, 12, "size"))
    return Entry(
        name=name,
        kind=kind,
        mode=_number(header, 100, 8, "mode") & 0o7777,
        uid=uid,
        gid=gid,
        mtime_ns=_mtime_ns(header, pax),
        size=size if kind is Kind.FILE else 0,  # for all others Docker takes no content either
        link=link if kind in (Kind.SYMLINK, Kind.HARDLINK) else b"",
    )


def _pax_number(pax: dict[bytes, bytes], name: bytes, value: int) -> int:
    """What a record says in place of a header's field."""
    text = pax.get(name)
    if not text:
        return value
    if not text.isdigit() or len(text) > 19:
        raise OciError(f"the layer's archive has a {name.decode()} of {shown(text)}")
    return int(text)


def _mtime_ns(header: bytes, pax: dict[bytes, bytes]) -> int:
    text = pax.get(b"mtime")
    if not text:
        return min(max(_number(header, 136, 12, "time"), 0), _TIME_S_MAX) * 10**9
    match = _TIME.fullmatch(text)
    if match is None:
        raise OciError(f"the layer's archive has a time of {shown(text)}")
    if match[1]:
        return 0
    fraction = (match[3] or b"")[:9].ljust(9, b"0")
    return min(int(match[2]), _TIME_S_MAX) * 10**9 + int(fraction)
