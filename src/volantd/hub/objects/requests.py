"""Requests about named objects of any kind: found, made, listed and ended.

    object_get      by name, made if it is missing and that is wished
    object_find     by id
    object_create   by name, which has to be free
    object_open     one without a name, which ends with the session; also when its client is back
    object_list     those of a kind in an environment
    object_delete   by id; what is not there is not there afterwards either

Ids of new objects are chosen by their clients, so that asking twice makes one.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from volant.errors import AlreadyExistsError, Error, InvalidError, PermissionDeniedError
from volant.wire.faults import error_fault
from volantd.hub import checks
from volantd.hub.environments.book import checked_name
from volantd.hub.objects.kinds import MAKER_CHARS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.hub.environments.record import Environment
    from volantd.hub.objects.kinds import NamedObject, ObjectKind
    from volantd.hub.session import Session

#: Characters of a name, and of an id.
NAME_CHARS_MAX = 64
ID_CHARS_MAX = 40
#: Objects in one answer of `object_list`.
LISTED_MAX = 10_000
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")


def object_get(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """The object with a name; made if there is none and `create` is set."""
    objects = session.hub.objects
    kind, environment, name = named_place(session, message)
    made, create = _making(session, message, kind), checks.switch(message, "create")
    _kind(session, message, makes=create)
    if not objects.is_open(session, message):
        return None
    place = session.hub.environments.of(session, environment)
    found = objects.named(kind.name, place, name)
    if found is None:
        if not create:
            known = objects.names(kind.name, place)
            said = session.hub.environments.said(session, environment)
            raise checks.not_found(kind.name, name, known, environment=said)
        found = made(place, name)
    return when_kept(session, message, found)


def object_find(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """The object with an id."""
    objects = session.hub.objects
    kind, wanted = _kind(session, message), checks.text(message, "object_id")
    if not objects.is_open(session, message):
        return None
    return when_kept(session, message, objects.find(kind.name, wanted))


def object_create(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Make an object with a name that nothing has, or, with `allow_existing`, find it."""
    objects = session.hub.objects
    kind, environment, name = named_place(session, message)
    made, allow = _making(session, message, kind), checks.switch(message, "allow_existing")
    _kind(session, message, makes=True)
    if not objects.is_open(session, message):
        return None
    place = session.hub.environments.of(session, environment)
    found = objects.named(kind.name, place, name)
    if found is None:
        found = made(place, name)
    elif not allow and found.object_id != message["object_id"]:  # else this request, sent again
        raise AlreadyExistsError(
            f"there is a {kind.name} {name!r} already",
            hint="choose another name, or say `allow_existing=True`",
        )
    return when_kept(session, message, found)


def object_open(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Make an object that ends with this session, or have one that was made before do so."""
    objects = session.hub.objects
    kind = _kind(session, message, makes=True)
    environment, made = _environment(message), _making(session, message, kind)
    wanted = message["object_id"]
    if not objects.is_open(session, message):
        return None
    place = session.hub.environments.of(session, environment)
    try:
        found = objects.find(kind.name, wanted)
    except Error:
        found = made(place, None, owner=session)
    if found.name is not None or found.owner not in (None, session):
        raise InvalidError(f"{wanted!r} does not end with this client")
    if found.owner is None:
        objects.own(found, session)
    return when_kept(session, message, found)


def object_list(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """The objects of a kind that have names, the newest first."""
    objects = session.hub.objects
    kind, environment = _kind(session, message), _environment(message)
    checks.optional(checks.whole, message, "max", 0)
    checks.optional(checks.number, message, "created_before", 0)
    if not objects.is_open(session, message):
        return None
    found = objects.all(kind.name, session.hub.environments.of(session, environment))
    before, most = message["created_before"], message["max"]
    if before is not None:
        found = [one for one in found if one.created_at < before]
    most = LISTED_MAX if most is None else min(most, LISTED_MAX)
    return {"objects": [one.row() for one in found[:most]]}


def object_delete(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """End an object, by its id; answers when it is gone from the disk."""
    objects = session.hub.objects
    kind, wanted = _kind(session, message), checks.text(message, "object_id")
    if not objects.is_open(session, message):
        return None
    try:
        found = objects.find(kind.name, wanted)
    except Error:
        return {}
    objects.remove(found, functools.partial(_answer, session, message["id"], {}))
    return None


def when_kept(
    session: Session, message: dict[str, Any], found: NamedObject
) -> dict[str, Any] | None:
    """Tell of an object, as soon as it is on the disk."""
    session.hub.objects.kinds[found.kind].check(found, message)
    if found.is_kept:
        return found.row()
    found.waiting.append(functools.partial(_answer, session, message["id"], found.row()))
    return None


def _answer(session: Session, number: int, fields: dict[str, Any], error: Error | None) -> None:
    if error is None:
        session.reply(number, fields)
    else:
        session.refuse(number, error_fault(error))


# -- fields


def _kind(session: Session, message: dict[str, Any], *, makes: bool = False) -> ObjectKind:
    objects, name = session.hub.objects, checks.text(message, "kind")
    if name not in objects.kinds:
        raise ValueError(f"there are no objects of kind {name[: checks.SOUGHT_CHARS_MAX]!r}")
    kind = objects.kinds[name]
    if kind.is_guarded and session.container_app is not None:
        raise PermissionDeniedError(
            f"a container may not ask about a {name}",
            hint="give it to the function, as secrets=[volant.Secret.from_name(...)]",
        )
    if kind.is_guarded and makes:
        raise ValueError(f"a {name} is made by a request of its own")
    return kind


def named_place(session: Session, message: dict[str, Any]) -> tuple[ObjectKind, str | None, str]:
    """Kind, environment and name.

    Raises:
        PermissionDeniedError: for a kind that is not the business of containers.
        ValueError: for what cannot be one.
    """
    name = checks.text(message, "name")
    if not 0 < len(name) <= NAME_CHARS_MAX or not _NAME_CHARS.issuperset(name):
        raise ValueError(f"{name[: checks.SOUGHT_CHARS_MAX]!r} cannot be the name of an object")
    return _kind(session, message), _environment(message), name


def _environment(message: dict[str, Any]) -> str | None:
    checks.optional(checked_name, message, "environment")
    found: str | None = message["environment"]
    return found


def _making(
    session: Session, message: dict[str, Any], kind: ObjectKind
) -> Callable[..., NamedObject]:
    """What makes an object as a message wants it, in an environment and under a name."""
    created_by, wanted = maker(session, message), new_id(kind, message)

    def make(place: Environment, name: str | None, owner: Session | None = None) -> NamedObject:
        return session.hub.objects.create(
            kind, place, name, object_id=wanted, created_by=created_by, owner=owner,
            options=kind.options_of(message),
        )  # fmt: skip

    return make


def new_id(kind: ObjectKind, message: dict[str, Any]) -> str:
    """The id that a new object gets."""
    wanted = checks.text(message, "object_id")
    bare = wanted.removeprefix(f"{kind.prefix}-")
    if bare == wanted or len(wanted) > ID_CHARS_MAX or not bare.isascii() or not bare.isalnum():
        raise ValueError(f"{wanted[: checks.SOUGHT_CHARS_MAX]!r} is no id of a {kind.name}")
    return wanted


def maker(session: Session, message: dict[str, Any]) -> str:
    """Who makes an object: the container, or what a client says of its user."""
    if session.container_app is not None:
        return session.container_id
    name = checks.text(message, "created_by")
    if len(name) > MAKER_CHARS_MAX or not name.isprintable():
        raise ValueError("`created_by` is too long, or cannot be printed")
    return name


HANDLERS = (
    object_get, object_find, object_create, object_open, object_list, object_delete,
)  # fmt: skip
