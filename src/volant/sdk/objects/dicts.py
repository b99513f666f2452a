"""`Dict`: a durable mapping that programs and containers share.

    d = volant.Dict.from_name("index", create_if_missing=True)
    d["a"] = 1                       on the disk when it returns
    d.put("lock", 1, skip_if_exists=True)    True for one of all who try

Keys and values are pickles, and two keys are the same if their pickles are: `1` and `True` are two
keys here. What nobody uses for 7 days goes.
"""

from __future__ import annotations

import os

from volant.errors import DeserializationError, InvalidError, NotFoundError, SerializationError
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.objects.asking import Value, ask, blocking, both, both_iter, change
from volant.sdk.objects.named import Named, Objects, pickled
from volant.wire import payloads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from volant.sdk.objects.asking import Steps, Values

#: Entries of one `update`.
UPDATE_ENTRIES_MAX = 10_000
#: Largest value, as a pickle.
VALUE_BYTES_MAX = 100 << 20
#: Values beyond this are sent ahead of what names them, in pieces.
INLINE_BYTES_MAX = 256 << 10
PIECE_BYTES = 4 << 20
#: Bytes of entries that one request takes.
REQUEST_BYTES = 8 << 20
#: Values that are replaced again and again while they are read, before that is an error.
READ_ATTEMPTS_MAX = 10

_MISSING = object()


class Dict(Named):
    """A handle on a dict."""

    _kind = "dict"
    _prefix = "di"

    objects: Objects[Dict]

    @both
    def get(self, key: object, default: Any = None) -> Steps[Any]:
        """The value of a key, or `default` if there is none.

        Raises:
            DeserializationError: for a value that cannot be unpickled here.
        """
        found = yield from self._look_up(key)
        return default if found is _MISSING else found

    @both
    def put(self, key: object, value: object, *, skip_if_exists: bool = False) -> Steps[bool]:
        """Set a key; on the disk when this returns.

        Args:
            key: anything that can be pickled.
            value: the same, up to 100 MiB.
            skip_if_exists: leave it if it is there: of all who try, one is told True.

        Returns:
            Whether the value was set.
        """
        return (yield from self._put([(key, value)], if_absent=skip_if_exists))

    @both
    def update(self, other: Mapping[Any, Any] | None = None, /, **entries: Any) -> Steps[None]:
        """Set several keys, at most 10,000: together, or in parts if they are beyond 8 MiB."""
        merged = {**(other or {}), **entries} if entries else dict(other or {})
        if len(merged) > UPDATE_ENTRIES_MAX:
            raise InvalidError(
                f"{len(merged)} entries in one update, at most {UPDATE_ENTRIES_MAX}",
                hint="update in parts",
            )
        if merged:
            yield from self._put(merged.items(), if_absent=False)

    @both
    def pop(self, key: object, default: Any = _MISSING) -> Steps[Any]:
        """Take a key out, and return its value, or `default` if there is none.

        Raises:
            KeyError: when there is none, and no default.
        """
        object_id = yield from self._id()
        reply = yield change("dict_pop", object_id=object_id, key=_key_bytes(key))
        if reply["found"]:
            return (yield from self._value(key, reply))
        if default is _MISSING:
            raise KeyError(key)
        return default

    @both
    def contains(self, key: object) -> Steps[bool]:
        """Whether there is a key."""
        object_id = yield from self._id()
        reply = yield ask("dict_contains", object_id=object_id, key=_key_bytes(key))
        return bool(reply["found"])

    @both
    def len(self) -> Steps[int]:
        """How many keys there are."""
        reply = yield ask("dict_len", object_id=(yield from self._id()))
        return int(reply["count"])

    @both
    def clear(self) -> Steps[None]:
        """Take everything out."""
        yield change("dict_clear", object_id=(yield from self._id()))

    @both_iter
    def keys(self) -> Values[Any]:
        """All keys, in no order of theirs: those that stay come once, others may or may not."""
        yield from self._each(lambda key, _: key, values=False)

    @both_iter
    def values(self) -> Values[Any]:
        """All values, as `keys` does."""
        yield from self._each(lambda _, value: value, values=True)

    @both_iter
    def items(self) -> Values[tuple[Any, Any]]:
        """All pairs of key and value, as `keys` does."""
        yield from self._each(lambda key, value: (key, value), values=True)

    # -- as mappings are used; blocking

    def __getitem__(self, key: object) -> Any:
        warn_blocking("d[key]", "await d.get.aio(key)")
        found = blocking(self._look_up(key))
        if found is _MISSING:
            raise KeyError(key)
        return found

    def __setitem__(self, key: object, value: object) -> None:
        warn_blocking("d[key] = value", "await d.put.aio(key, value)")
        blocking(self._put([(key, value)], if_absent=False))

    def __delitem__(self, key: object) -> None:
        warn_blocking("del d[key]", "await d.pop.aio(key)")
        reply = blocking(self._popped(key))
        if not reply["found"]:
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return self.contains(key)

    def __len__(self) -> int:
        return self.len()

    def __bool__(self) -> bool:
        return True  # a handle, of which nobody wants to ask the hub whether it is empty

    # -- steps

    def _popped(self, key: object) -> Steps[dict[str, Any]]:
        object_id = yield from self._id()
        reply: dict[str, Any] = yield change("dict_pop", object_id=object_id, key=_key_bytes(key))
        return reply

    def _look_up(self, key: object) -> Steps[Any]:
        """The value of a key, or `_MISSING`."""
        object_id, raw = (yield from self._id()), _key_bytes(key)
        for _ in range(READ_ATTEMPTS_MAX):
            reply = yield ask("dict_get", object_id=object_id, key=raw)
            if not reply["found"]:
                return _MISSING
            try:
                return (yield from self._value(key, reply))
            except NotFoundError:
                pass  # another value has taken its place while it was read
        raise NotFoundError(f"the value of {key!r} in {self!r} is replaced faster than it is read")

    def _value(self, key: object, reply: dict[str, Any]) -> Steps[Any]:
        raw = reply["value"] if "value" in reply else (yield from _read(reply))
        return self._opened(f"the value of {key!r}", raw)

    def _opened(self, what: str, raw: bytes) -> Any:
        try:
            return payloads.loads_plain(raw)
        except Exception as error:
            raise DeserializationError(
                f"{what} in {self!r} cannot be unpickled here: {type(error).__name__}: {error}",
                hint="the class of a value must be importable where it is used",
            ) from error

    def _put(self, pairs: Iterable[tuple[object, object]], *, if_absent: bool) -> Steps[bool]:
        object_id = yield from self._id()
        entries = [(_key_bytes(key), _value_bytes(key, value)) for key, value in pairs]
        stored = True
        for part in _parts(entries):
            while True:
                sent: list[list[object]] = []
                for key, value in part:
                    large = len(value) > INLINE_BYTES_MAX
                    sent.append([key, (yield from _upload(value)) if large else value])
                reply = yield change(
                    "dict_put", object_id=object_id, entries=sent, if_absent=if_absent
                )
                if "missing" not in reply:  # else the connection they went over was lost
                    break
            stored = bool(reply["stored"])
        return stored

    def _each(self, made: Any, *, values: bool) -> Values[Any]:
        object_id = yield from self._id()
        after: bytes | None = b""
        while after is not None:
            page = yield ask("dict_page", object_id=object_id, after=after, values=values)
            for raw, value in page["entries"]:
                key = self._opened("a key", raw)
                if not values:
                    yield Value(made(key, None))
                elif isinstance(value, bytes):
                    yield Value(made(key, self._opened(f"the value of {key!r}", value)))
                else:  # a large one, which may be gone by now
                    found = yield from self._look_up(key)
                    if found is not _MISSING:
                        yield Value(made(key, found))
            after = page["next"]


def _value_bytes(key: object, value: object) -> bytes:
    hint = "keep what is larger in a volume"
    return pickled(value, lambda: f"the value of {key!r}", VALUE_BYTES_MAX, hint)


def _key_bytes(key: object) -> bytes:
    """What a key is known by: the same for equal keys of plain types, however they were made."""
    from _pickle import Pickler
    from io import BytesIO

    try:
        buffer = BytesIO()
        pickler = Pickler(buffer, 5)
        pickler.fast = True  # else what occurs twice in it is written as a reference, or not
        pickler.dump(key)
        return buffer.getvalue()
    except Exception:  # noqa: BLE001  # a lambda, a local class, something that contains itself
        try:
            return payloads.dumps_by_value(key)
        except Exception as error:
            raise SerializationError(f"a key cannot be pickled: {key!r}: {error}") from error


def _parts(entries: list[tuple[bytes, bytes]]) -> Iterable[list[tuple[bytes, bytes]]]:
    """Entries in parts that fit into a request each."""
    part: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in entries:
        inline = len(key) + min(len(value), INLINE_BYTES_MAX)
        if part and size + inline > REQUEST_BYTES:
            yield part
            part, size = [], 0
        part.append((key, value))
        size += inline
    if part:
        yield part


def _upload(value: bytes) -> Steps[str]:
    """Send a large value ahead; what it is called in the request that names it."""
    while True:
        name = os.urandom(16).hex()
        for at in range(0, len(value), PIECE_BYTES):
            piece = value[at : at + PIECE_BYTES]
            reply = yield ask("dict_upload", upload=name, size=len(value), offset=at, data=piece)
            if "missing" in reply:  # the connection that earlier pieces went over was lost
                break
        else:
            return name


def _read(reply: dict[str, Any]) -> Steps[bytes]:
    """A large value, piece by piece."""
    pieces: list[bytes] = []
    have = 0
    while have < reply["size"]:
        data = (yield ask("dict_read", file=reply["file"], offset=have))["data"]
        if not data:
            raise NotFoundError("this value ends early")
        pieces.append(data)
        have += len(data)
    return b"".join(pieces)


Dict.objects = Objects(Dict)
