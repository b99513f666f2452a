"""What all objects with names have in common: how they are found, made, listed, ended, and travel.

    Dict.from_name("index")        asks nobody; the first use finds it
    Dict.from_id("di-…")
    with Dict.ephemeral() as d:    ends with the block, and with this process
    Dict.objects.create / list / delete

A handle travels as its id, or as its name if it has not been used, and is usable where it arrives.
"""

from __future__ import annotations

from volant import ids
from volant.channel import current
from volant.errors import Error, InvalidError, NotFoundError, SerializationError
from volant.sdk.calls.autoscaler import Record
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.generics import Generic, N
from volant.sdk.naming import check_environment, check_id, check_name
from volant.sdk.objects.asking import ask, awaited, blocking, both
from volant.sdk.objects.handle import Handle, check_client
from volant.sdk.planned import former
from volant.wire import payloads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType
    from typing import Any, ClassVar

    from typing_extensions import Self

    from volant.sdk.objects.asking import Both, Steps
    from volant.sdk.objects.client import Client


def pickled(value: object, what: Callable[[], str], bytes_max: int, hint: str) -> bytes:
    """A value as what an object holds.

    Args:
        value: anything.
        what: says what it is, in an error.
        bytes_max: how long its pickle may be.
        hint: what to do with a larger one.

    Raises:
        SerializationError: when it cannot be pickled.
        RequestSizeError: when it is too large.
    """
    try:
        raw = payloads.dumps_by_value(value)
    except Exception as error:
        raise SerializationError(
            f"{what()} cannot be pickled: {type(value).__name__}: {error}",
            hint="put plain data, and open files, connections or locks where it is used",
        ) from error
    if len(raw) > bytes_max:
        from volant.errors import RequestSizeError  # one of those that are built on first use

        raise RequestSizeError(
            f"{what()} has {len(raw)} bytes as a pickle, at most {bytes_max}", hint=hint
        )
    return raw


class ObjectInfo(Record):
    """What is known of an object, whatever its kind."""

    __slots__ = ("created_at", "created_by", "name")

    def __init__(self, reply: dict[str, Any]) -> None:
        from datetime import datetime, timezone

        #: None for one that ends with its client.
        self.name: str | None = reply["name"]
        self.created_at: datetime = datetime.fromtimestamp(reply["created_at"], timezone.utc)
        #: The user, or the container (`ta-…`).
        self.created_by: str = reply["created_by"]


class EphemeralOf(Generic[N]):
    """`X.ephemeral(...)` and `X.ephemeral.aio(...)`, which are the same.

    A fresh object without a name, for the length of a `with` or `async with` block. It ends with
    the block, or with this process.
    """

    __slots__ = ("_cls",)

    def __init__(self, cls: type[N]) -> None:
        self._cls = cls

    def __call__(
        self, *, environment_name: str | None = None, client: Client | None = None
    ) -> Ephemeral[N]:
        check_environment(environment_name)
        check_client(client)
        cls = self._cls
        return Ephemeral(cls(None, environment_name, ids.new_id(cls._prefix)))

    aio = __call__


class AtEphemeral:
    """`ephemeral` as an attribute of a kind."""

    def __get__(self, instance: object, owner: type[N]) -> EphemeralOf[N]:
        return EphemeralOf(owner)


class _AtDelete:
    """`X.delete(name)`, as it was before `X.objects.delete(name)`."""

    def __get__(self, instance: object, owner: Any) -> Both[..., None]:
        objects: Objects[Any] = owner.objects
        return objects.delete


@former(
    lookup="{}.from_name(name)",
    new="{}.from_name(name, create_if_missing=True)",
    persisted="{}.from_name(name, create_if_missing=True)",
)
class Named(Handle):
    """A handle on one object. Its kind says what can be done with it."""

    #: As the hub calls the kind, and what its ids begin with.
    _kind: ClassVar[str]
    _prefix: ClassVar[str]

    def __init__(
        self, name: str | None, environment: str | None, object_id: str | None, *,
        create: bool = False,
    ) -> None:  # fmt: skip
        self._name = name
        self._environment = environment
        self._object_id = object_id
        self._create = create

    @classmethod
    def from_name(
        cls, name: str, *, environment_name: str | None = None, create_if_missing: bool = False,
        client: Client | None = None,
    ) -> Self:  # fmt: skip
        """The object of a name; asks nobody until it is used.

        Args:
            name: 1 to 64 letters, digits, `-`, `.` or `_`.
            environment_name: where it is; by default the environment of this process.
            create_if_missing: whether its first use makes it if need be.
            client: of no need: a process has one.

        Raises:
            InvalidError: for what cannot be a name.
        """
        check_name(f"a {cls.__name__}", name)
        check_environment(environment_name)
        check_client(client)
        return cls(name, environment_name, None, create=create_if_missing)

    @classmethod
    def from_id(
        cls, object_id: str | None = None, *, client: Client | None = None, **named: str
    ) -> Self:
        """The object of an id; asks nobody until it is used.

        Args:
            object_id: also by the name of its kind, as in `Dict.from_id(dict_id="di-…")`.
            client: of no need: a process has one.
            named: nothing else.

        Raises:
            InvalidError: for what cannot be the id of one.
        """
        keyword = f"{cls.__name__.lower()}_id"
        if named and (object_id is not None or list(named) != [keyword]):
            raise TypeError(f"{cls.__name__}.from_id takes one id, as `object_id` or `{keyword}`")
        object_id = named.get(keyword, object_id) or ""
        check_id(f"a {cls.__name__}", object_id, f"{cls._prefix}-")
        check_client(client)
        return cls(None, None, object_id)

    ephemeral = AtEphemeral()
    delete = _AtDelete()

    def __repr__(self) -> str:
        return f"<volant.{type(self).__name__} {self._name or self._object_id}>"

    def __reduce__(self) -> tuple[object, ...]:
        parts = type(self), self._name, self._environment, self._object_id, self._create
        return _arrived, parts

    @property
    def name(self) -> str | None:
        """Its name; None where it is not known, or where it has none."""
        return self._name

    @property
    def object_id(self) -> str | None:
        """Its id; None until it was used or hydrated."""
        return self._object_id

    @property
    def hydrate(self) -> Hydrate[Self]:
        """Make sure that it exists: `hydrate()`, or `await hydrate.aio()`; gives the handle itself.

        Raises (when called):
            NotFoundError: when it does not, and was not to be made.
        """
        return Hydrate(self)

    @both
    def info(self) -> Steps[ObjectInfo]:
        """Its name, when it was made, and by whom: `info()`.

        Raises:
            NotFoundError: when it does not exist.
        """
        found = yield ask("object_find", kind=self._kind, object_id=(yield from self._id()))
        return ObjectInfo(found)

    def _wishes(self) -> dict[str, object]:
        """What it has to be like, and is made like."""
        return {}

    def _id(self) -> Steps[str]:
        """Its id, asked for once."""
        if self._object_id is None:
            yield from self._found()
        assert self._object_id is not None
        return self._object_id

    def _found(self) -> Steps[None]:
        if self._name is None:
            found = yield ask("object_find", kind=self._kind, object_id=self._object_id)
        else:
            found = yield ask(
                "object_get", kind=self._kind, name=self._name, environment=self._environment,
                create=self._create, **self._wishes(), **new(self._prefix),
            )  # fmt: skip
        self._name, self._object_id = found["name"], found["object_id"]


def _arrived(
    cls: type[Named], name: str | None, environment: str | None, object_id: str | None,
    create: bool,
) -> Named:  # fmt: skip
    return cls(name, environment, object_id, create=create)


def new(prefix: str) -> dict[str, object]:
    """Fields for an object that may be made: the id that it gets, and who makes it."""
    from volant.sdk.deploying.facts import deployer

    return {"object_id": ids.new_id(prefix), "created_by": deployer()}


class Hydrate(Generic[N]):
    """`x.hydrate()` and its `.aio`."""

    __slots__ = ("_handle",)

    def __init__(self, handle: N) -> None:
        self._handle = handle

    def __call__(self, client: Client | None = None) -> N:
        check_client(client)
        form = f"{type(self._handle).__name__.lower()}.hydrate"
        warn_blocking(f"{form}()", f"await {form}.aio()")
        blocking(self._handle._found())
        return self._handle

    async def aio(self, client: Client | None = None) -> N:
        """The same, awaited."""
        check_client(client)
        await awaited(self._handle._found())
        return self._handle


class Ephemeral(Generic[N]):
    """A block in which an object exists: what `ephemeral()` returns."""

    __slots__ = ("_handle", "_reopen")

    def __init__(self, handle: N) -> None:
        self._handle = handle

    def __enter__(self) -> N:
        form = f"{type(self._handle).__name__}.ephemeral()"
        warn_blocking(f"with {form}", f"async with {form}")
        return blocking(self._opened())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        blocking(self._closed())

    async def __aenter__(self) -> N:
        return await awaited(self._opened())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await awaited(self._closed())

    def _fields(self) -> dict[str, object]:
        handle = self._handle
        return {
            **new(handle._prefix), "kind": handle._kind, "environment": handle._environment,
            "object_id": handle._object_id, **handle._wishes(),
        }  # fmt: skip

    def _opened(self) -> Steps[N]:
        fields, channel = self._fields(), current.channel()

        def reopen() -> None:
            """Stay its owner over a new connection (on the leading thread)."""
            try:
                channel.direct_request("object_open", **fields)
            except Error:
                pass  # it is gone: whoever uses it is told

        self._reopen = channel, reopen
        yield ask("object_open", **fields)
        channel.on_reconnect.append(reopen)
        return self._handle

    def _closed(self) -> Steps[None]:
        channel, reopen = self._reopen
        channel.on_reconnect.remove(reopen)
        handle = self._handle
        yield ask("object_delete", kind=handle._kind, object_id=handle._object_id)


class Objects(Generic[N]):
    """`X.objects`: the objects of a kind that have names."""

    __slots__ = ("_cls",)

    def __init__(self, cls: type[N]) -> None:
        self._cls = cls

    @both
    def create(
        self, name: str, *, allow_existing: bool = False, environment_name: str | None = None,
        client: Client | None = None,
    ) -> Steps[None]:  # fmt: skip
        """Make an object.

        Raises:
            AlreadyExistsError: when there is one of that name, unless `allow_existing`.
            InvalidError: for what cannot be a name.
        """
        check_name(f"a {self._cls.__name__}", name)
        check_client(client)
        yield ask(
            "object_create", kind=self._cls._kind, name=name, allow_existing=allow_existing,
            environment=check_environment(environment_name), **new(self._cls._prefix),
        )  # fmt: skip

    @both
    def list(
        self, *, max_objects: int | None = None, created_before: datetime | str | None = None,
        environment_name: str = "", client: Client | None = None,
    ) -> Steps[list[N]]:  # fmt: skip
        """The objects that have names, the newest first.

        Args:
            max_objects: how many at most.
            created_before: a moment, or one as ISO 8601 text; without a time zone, a local one.
            environment_name: where; "" for the environment of this process.
            client: of no need: a process has one.

        Raises:
            InvalidError: for a number below 0.
        """
        check_client(client)
        if max_objects is not None and (type(max_objects) is not int or max_objects < 0):
            raise InvalidError(f"max_objects must be a number from 0 on, got {max_objects!r}")
        place = check_environment(environment_name or None)
        reply = yield ask(
            "object_list", kind=self._cls._kind, environment=place, max=max_objects,
            created_before=_seconds(created_before),
        )  # fmt: skip
        return [self._cls(row["name"], place, row["object_id"]) for row in reply["objects"]]

    @both
    def delete(
        self, name: str, *, allow_missing: bool = False, environment_name: str | None = None,
        client: Client | None = None,
    ) -> Steps[None]:  # fmt: skip
        """End an object and what is in it.

        Raises:
            NotFoundError: when there is none of that name, unless `allow_missing`.
        """
        check_name(f"a {self._cls.__name__}", name)
        check_client(client)
        try:
            found = yield ask(
                "object_get", kind=self._cls._kind, name=name, create=False,
                environment=check_environment(environment_name), **new(self._cls._prefix),
            )  # fmt: skip
        except NotFoundError:
            if not allow_missing:
                raise
        else:
            yield ask("object_delete", kind=self._cls._kind, object_id=found["object_id"])


def _seconds(moment: datetime | str | None) -> float | None:
    """A moment as seconds since 1970."""
    if isinstance(moment, str):
        from datetime import datetime

        moment = datetime.fromisoformat(moment)
    return None if moment is None else moment.timestamp()
