"""Frames: how messages are cut out of a byte stream, and the packed layout of the hot ones.

    frame      length u32 | type u8 | flags u8 | body          length counts the body only
    hot body   key u64 | first u32 | count u16 | extra u32 | heads (count x u32) | payloads
    head       kind in the top 4 bits, payload length in the lower 28

`SUBMIT` (client to hub): key is the client's number of the call, extra the function's; of a class,
    which is one function to the hub, the upper 8 bits are the method.
`INPUT` (hub to container): key is the batch, extra the method, and 26 bytes of call id before the
    heads.
`OUTCOME` (container to hub): key is the batch, extra the microseconds that user code ran.
`RESULT` (hub to client): key is the client's number of the call, extra as in OUTCOME.
`RECEIVED` (client to hub): results that came by the express lane, each as number u64, extra u32.

An items section (heads and payloads) is the same in all four, so the hub forwards it untouched.
"""

from __future__ import annotations

from _struct import Struct, pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Version of this format; peers that differ do not talk.
PROTOCOL = 1

#: Largest body that a reader accepts; a longer frame ends the connection.
FRAME_BYTES_MAX = 64 << 20
#: Largest payload sent inside a frame; above, payloads travel as a mapped file.
INLINE_BYTES_MAX = 1 << 20
#: Largest result that takes the express lane from a container straight to its client.
EXPRESS_BYTES_MAX = 16 << 10
#: What a container writes before each result on the express lane: the token of its function.
EXPRESS_TOKEN_BYTES = 8
#: Most inputs in one frame.
BATCH_COUNT_MAX = 4096
#: What one read from a socket asks for.
READ_BYTES = 256 << 10

# Frame types. Control frames carry one msgpack map.
REQUEST, REPLY, EVENT = 1, 2, 3
SUBMIT, INPUT, OUTCOME, RESULT, RECEIVED = 16, 17, 18, 19, 20

# Flags.
HAS_FD = 1  #: one file descriptor travels with this frame
OPEN = 2  #: SUBMIT: the first frame of its call
LAST = 4  #: SUBMIT: no inputs after these; RESULT: no results after these
ALL_OK = 8  #: OUTCOME: every item is a success
END = 16  #: OUTCOME: the batch is finished
RETAIN = 32  #: SUBMIT with OPEN: keep results until asked for (spawn)
STREAM = 64  #: SUBMIT with OPEN: a generator call
MORE = 4  #: INPUT: the next batch is taken together with this one
EXPRESS = 128  #: INPUT: its result may take the express lane; OUTCOME: it has

# Kinds of item.
PICKLE = 0  #: a pickle
MAPPED = 1  #: a table of buffers in the mapped file that travels with the frame
FAULT = 2  #: an exception, see faults.py
YIELD = 3  #: one value of a generator, a pickle
YIELD_MAPPED = 4  #: one value of a generator, as MAPPED
EXHAUSTED = 5  #: the generator returned

#: SUBMIT: where the method begins in what names a function; most methods of a class, and functions
#: of a connection.
METHOD_SHIFT = 24
METHODS_MAX = 1 << (32 - METHOD_SHIFT)
FUNCTION_MASK = (1 << METHOD_SHIFT) - 1

HEAD_LENGTH_MASK = (1 << 28) - 1
CALL_ID_BYTES = 26

HEADER = Struct("<IBB")
HOT = Struct("<QIHI")
RECEIPT = Struct("<QI")
_FRAME_AND_HOT = Struct("<IBBQIHI")
_HOT_SIZE = HOT.size


def control(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A control frame around an encoded map."""
    return HEADER.pack(len(body), kind, flags) + body


def receipts(results: Sequence[tuple[int, int]]) -> bytes:
    """A RECEIVED frame for (number of a call, microseconds that it ran) pairs."""
    body = b"".join([RECEIPT.pack(number, exec_us) for number, exec_us in results])
    return control(RECEIVED, body)


def split_receipts(body: bytes) -> Iterable[tuple[int, int]]:
    """The pairs that `receipts` was given.

    Raises:
        ValueError: if there is a rest.
    """
    if len(body) % RECEIPT.size:
        raise ValueError(f"receipts of {RECEIPT.size} bytes each, and {len(body)} bytes of them")
    return RECEIPT.iter_unpack(body)


def items_section(items: Sequence[tuple[int, bytes]]) -> bytes:
    """Heads and payloads of (kind, payload) pairs.

    Raises:
        ValueError: if there are more than `BATCH_COUNT_MAX`, or more bytes than a frame holds.
    """
    if len(items) > BATCH_COUNT_MAX:
        raise ValueError(f"{len(items)} items in one frame, at most {BATCH_COUNT_MAX}")
    payloads = b"".join([payload for _, payload in items])
    if len(payloads) > FRAME_BYTES_MAX:  # so each length fits the 28 bits of its head
        raise ValueError(f"items of {len(payloads)} bytes, at most {FRAME_BYTES_MAX}")
    heads = [(kind << 28) | len(payload) for kind, payload in items]
    return pack(f"<{len(items)}I", *heads) + payloads


def repeated(first: int, count: int, kind: int, payload: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The same item for each of some indexes: (first, count, items section), each for one frame."""
    for at in range(first, first + count, BATCH_COUNT_MAX):
        size = min(BATCH_COUNT_MAX, first + count - at)
        yield at, size, items_section([(kind, payload)] * size)


def hot(
    kind: int, flags: int, key: int, first: int, count: int, extra: int, section: bytes
) -> bytes:
    """A hot frame around an items section (for INPUT: call id and items section)."""
    return (
        _FRAME_AND_HOT.pack(_HOT_SIZE + len(section), kind, flags, key, first, count, extra)
        + section
    )


def split_items(section: bytes, count: int) -> list[tuple[int, bytes]]:
    """Cut an items section into (kind, payload) pairs.

    Raises:
        ValueError: if the heads do not describe exactly this section.
    """
    if len(section) < 4 * count:
        raise ValueError("items section is shorter than its heads")
    if count == 1 and int.from_bytes(section[:4], "little") == len(section) - 4:
        return [(PICKLE, section[4:])]
    at = 4 * count
    items = []
    for head in unpack_from(f"<{count}I", section):
        end = at + (head & HEAD_LENGTH_MASK)
        items.append((head >> 28, section[at:end]))
        at = end
    if at != len(section):
        raise ValueError("items section does not match its heads")
    return items


def check_items(section: bytes, count: int) -> None:
    """Make sure that `split_items` can cut this section, without cutting it.

    Raises:
        ValueError: if the heads do not describe exactly this section.
    """
    rest = len(section) - 4 * count
    if count == 1 and int.from_bytes(section[:4], "little") == rest:
        return
    if rest < 0:
        raise ValueError("items section is shorter than its heads")
    heads = unpack_from(f"<{count}I", section)
    # Nearly always all items are pickles, whose heads are their lengths.
    if sum(heads) != rest and sum([head & HEAD_LENGTH_MASK for head in heads]) != rest:
        raise ValueError("items section does not match its heads")


def count_of(section: bytes, count: int, kind: int) -> int:
    """How many items of a checked section are of a kind."""
    return sum(head >> 28 == kind for head in unpack_from(f"<{count}I", section))


class FrameReader:
    """Cuts frames out of a byte stream, whatever pieces it arrives in."""

    __slots__ = ("_pieces", "_rest", "_size", "_wanted")

    def __init__(self) -> None:
        self._rest = b""
        self._pieces: list[bytes] = []  # a long frame, piece by piece
        self._size = 0
        self._wanted = 0

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Return the (type, flags, body) that `data` completes.

        Raises:
            ValueError: if a frame announces more than `FRAME_BYTES_MAX`.
        """
        if self._wanted:
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                return []
            data = b"".join(self._pieces)
            self._pieces, self._wanted = [], 0
        elif self._rest:
            data = self._rest + data
        return self._cut(data)

    def _cut(self, data: bytes) -> list[tuple[int, int, bytes]]:
        frames: list[tuple[int, int, bytes]] = []
        at, size = 0, len(data)
        while size - at >= 6:
            length, kind, flags = HEADER.unpack_from(data, at)
            if length > FRAME_BYTES_MAX:
                raise ValueError(f"frame of {length} bytes, at most {FRAME_BYTES_MAX}")
            end = at + 6 + length
            if end > size:
                if length > READ_BYTES:
                    self._pieces, self._size, self._wanted = [data[at:]], size - at, 6 + length
                    self._rest = b""
                    return frames
                break
            frames.append((kind, flags, data[at + 6 : end]))
            at = end
        self._rest = data[at:] if at < size else b""
        return frames
