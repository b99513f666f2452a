"""`Queue`: a durable queue that programs and containers share, first in, first out.

    q = volant.Queue.from_name("work", create_if_missing=True)
    q.put("a")                       on the disk when it returns
    q.get()                          waits; the value has left the queue when it returns
    q.put(1, partition="slow")       partitions are queues of their own

A value leaves the queue when its getter has it, and `get` returns when that is on the disk. So kill
what you like: no value is lost before somebody got it, and nobody gets one that another got.
"""

from __future__ import annotations

from volant.errors import DeserializationError, InvalidError
from volant.sdk.objects.asking import Value, ask, both, both_iter, change
from volant.sdk.objects.named import Named, Objects, pickled
from volant.wire import payloads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from volant.sdk.objects.asking import Steps, Values

#: Largest value, as a pickle; longest name of a partition.
ITEM_BYTES_MAX = 1 << 20
PARTITION_BYTES_MAX = 64
#: Values of one partition.
ITEMS_MAX = 5000
#: Bytes of values that one request takes.
REQUEST_BYTES = 8 << 20
#: How long a partition is kept after something was put into it.
PARTITION_TTL_S = 24 * 3600
PARTITION_TTL_S_MAX = 7 * 24 * 3600
#: Values that one question of `iterate` brings.
LOOK_ITEMS = 1000


class Queue(Named):
    """A handle on a queue."""

    _kind = "queue"
    _prefix = "qu"

    objects: Objects[Queue]

    @both
    def put(
        self, v: object, block: bool = True, timeout: float | None = None, *,
        partition: str | None = None, partition_ttl: float = PARTITION_TTL_S,
    ) -> Steps[None]:  # fmt: skip
        """Put a value at the end; it is on the disk when this returns.

        Args:
            v: anything that can be pickled, up to 1 MiB.
            block: whether to wait for room.
            timeout: for how many seconds; None for as long as it takes.
            partition: up to 64 bytes; None for the one without a name.
            partition_ttl: seconds that the partition is kept from now on, at most 7 days.

        Raises:
            queue.Full: when there was no room, at once or in time.
        """
        yield from self._put([v], block, timeout, partition, partition_ttl)

    @both
    def put_many(
        self, vs: Iterable[Any], block: bool = True, timeout: float | None = None, *,
        partition: str | None = None, partition_ttl: float = PARTITION_TTL_S,
    ) -> Steps[None]:  # fmt: skip
        """Put values at the end, in their order.

        Up to 5,000 of up to 8 MiB go in together or not at all; more go in one part after the
        other.

        Raises:
            queue.Full: when there was no room, at once or in time.
        """
        yield from self._put(list(vs), block, timeout, partition, partition_ttl)

    @both
    def get(
        self, block: bool = True, timeout: float | None = None, *, partition: str | None = None
    ) -> Steps[Any]:
        """Take the first value out.

        Args:
            block: whether to wait for one; if not, None is returned when there is none.
            timeout: for how many seconds; None for as long as it takes.
            partition: up to 64 bytes; None for the one without a name.

        Raises:
            queue.Empty: when none came in time.
        """
        found = yield from self._get(1, block, timeout, partition)
        return found[0] if found else None

    @both
    def get_many(
        self, n_values: int, block: bool = True, timeout: float | None = None, *,
        partition: str | None = None,
    ) -> Steps[list[Any]]:  # fmt: skip
        """Take up to `n_values` out, as soon as there is one; without `block`, maybe none.

        Raises:
            queue.Empty: when none came in time.
        """
        if type(n_values) is not int or n_values < 1:
            raise InvalidError(f"a number of values from 1 on, not {n_values!r}")
        return (yield from self._get(n_values, block, timeout, partition))

    @both
    def len(self, *, partition: str | None = None, total: bool = False) -> Steps[int]:
        """How many values are in a partition, or with `total` in all."""
        if total and partition is not None:
            raise InvalidError("either a partition, or the total of all")
        object_id = yield from self._id()
        name = None if total else _checked_partition(partition)
        return int((yield ask("queue_len", object_id=object_id, partition=name))["count"])

    @both
    def clear(
        self,
        *,
        partition: str | None = None,
        all: bool = False,  # noqa: A002  # as the programming model calls it
    ) -> Steps[None]:
        """Empty a partition, or all."""
        if all and partition is not None:
            raise InvalidError("either a partition, or all")
        object_id = yield from self._id()
        name = None if all else _checked_partition(partition)
        yield change("queue_clear", object_id=object_id, partition=name)

    @both_iter
    def iterate(
        self, *, partition: str | None = None, item_poll_timeout: float = 0.0
    ) -> Values[Any]:
        """All values, first to last, which stay where they are.

        Args:
            partition: up to 64 bytes; None for the one without a name.
            item_poll_timeout: it ends when nothing was put for so many seconds.
        """
        object_id, name = (yield from self._id()), _checked_partition(partition)
        after = 0
        while True:
            page = yield ask(
                "queue_peek", object_id=object_id, partition=name, after=after, count=LOOK_ITEMS,
                timeout_s=float(item_poll_timeout),
            )  # fmt: skip
            if not page["items"] and "last" not in page:
                return
            after = page["last"]
            for raw in page["items"]:
                yield Value(self._opened(raw))

    def __len__(self) -> int:
        return self.len()

    def __bool__(self) -> bool:
        return True  # a handle, of which nobody wants to ask the hub whether it is empty

    # -- steps

    def _put(
        self, values: Sequence[object], block: bool, timeout: float | None,
        partition: str | None, partition_ttl: float,
    ) -> Steps[None]:  # fmt: skip
        name, timeout_s = _checked_partition(partition), _timeout_s(block, timeout)
        if not 0 < partition_ttl <= PARTITION_TTL_S_MAX:
            raise InvalidError(
                f"partition_ttl={partition_ttl!r}: more than 0 s, at most {PARTITION_TTL_S_MAX}"
            )
        raws = [self._raw(value) for value in values]
        object_id = yield from self._id()
        if timeout_s == 0 and len(raws) > ITEMS_MAX:
            raise _full(f"{len(raws)} values never fit into {self!r}")
        for part in _parts(raws):
            reply = yield change(
                "queue_put", object_id=object_id, partition=name, values=part,
                ttl_s=float(partition_ttl), timeout_s=timeout_s,
            )  # fmt: skip
            if not reply["put"]:
                raise _full(f"there was no room in {self!r}")

    def _get(
        self, count: int, block: bool, timeout: float | None, partition: str | None
    ) -> Steps[list[Any]]:
        name, timeout_s = _checked_partition(partition), _timeout_s(block, timeout)
        object_id = yield from self._id()
        raws: list[bytes] = []
        while True:
            reply = yield ask(
                "queue_get", object_id=object_id, partition=name, count=count - len(raws),
                timeout_s=0 if raws else timeout_s,
            )  # fmt: skip
            if not reply["items"]:
                break
            claim = yield change("queue_claim", offer=reply["offer"])
            if claim["claimed"]:  # else it went to somebody else, because the hub was restarted
                raws += reply["items"]
                if not reply["more"] or len(raws) == count:
                    break
        if not raws and block:
            import queue

            raise queue.Empty
        return [self._opened(raw) for raw in raws]

    def _raw(self, value: object) -> bytes:
        hint = "put what is larger into a Dict or a volume, and its key or path here"
        return pickled(value, lambda: f"a value for {self!r}", ITEM_BYTES_MAX, hint)

    def _opened(self, raw: bytes) -> Any:
        try:
            return payloads.loads_plain(raw)
        except Exception as error:
            raise DeserializationError(
                f"a value of {self!r} cannot be unpickled here: {type(error).__name__}: {error}",
                hint="the class of a value must be importable where it is used",
            ) from error


def _full(text: str) -> Exception:
    import queue

    return queue.Full(text)


def _checked_partition(name: str | None) -> str:
    """A partition as the hub calls it: the one without a name is empty text.

    Raises:
        InvalidError: for what cannot be one.
    """
    if name is None:
        return ""
    if not isinstance(name, str) or not 0 < len(name.encode()) <= PARTITION_BYTES_MAX:
        raise InvalidError(
            f"{name!r} cannot be a partition", hint=f"1 to {PARTITION_BYTES_MAX} bytes of text"
        )
    if "\0" in name:
        raise InvalidError(f"{name!r} cannot be a partition: it has a null in it")
    return name


def _timeout_s(block: bool, timeout: float | None) -> float | None:
    """How long the hub is to wait; None for as long as it takes."""
    if not block:
        return 0
    if timeout is not None and timeout < 0:
        raise InvalidError(f"timeout={timeout!r}: seconds from 0 on, or None")
    return None if timeout is None else float(timeout)


def _parts(raws: list[bytes]) -> Iterable[list[bytes]]:
    """Values in parts that fit into a request and a partition each."""
    part: list[bytes] = []
    size = 0
    for raw in raws:
        if part and (size + len(raw) > REQUEST_BYTES or len(part) == ITEMS_MAX):
            yield part
            part, size = [], 0
        part.append(raw)
        size += len(raw)
    if part:
        yield part


Queue.objects = Objects(Queue)
