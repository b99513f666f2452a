"""Requests that store secrets. None of them gives values away.

    secret_put     a secret with these variables, by its name: made, or one that is there replaced
    secret_update  variables that are added to those of a secret, by its id

What else can be asked about them is what can be asked about all objects with names.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from volant.errors import AlreadyExistsError, InvalidError
from volantd.fields import mapping, switch, text
from volantd.hub.objects import requests as objects_requests
from volantd.hub.secrets import stored

if TYPE_CHECKING:
    from volantd.hub.objects.kinds import NamedObject
    from volantd.hub.session import Session


def secret_put(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Store a secret under a name that nothing has; or, with `replace`, that has one already."""
    objects, secrets = session.hub.objects, session.hub.secrets
    kind, environment, name = objects_requests.named_place(session, message)
    if kind is not secrets.kind:
        raise ValueError("this request stores secrets")
    created_by, wanted = (
        objects_requests.maker(session, message),
        objects_requests.new_id(kind, message),
    )
    variables = _variables(message)
    allow, replace = switch(message, "allow_existing"), switch(message, "replace")
    if not objects.is_open(session, message) or not objects.tickets.admit(session, message):
        return None
    where = session.hub.environments.of(session, environment)
    found = objects.named(stored.KIND, where, name)
    if found is None:
        found = objects.create(
            kind, where, name, object_id=wanted, created_by=created_by,
            rows=[secrets.row(wanted, variables)],
        )  # fmt: skip
        found.waiting.append(functools.partial(_stored, session, found, variables))
    elif replace:
        _change(session, message, found, variables)
        return None
    elif not allow and found.object_id != wanted:  # else it is this request, sent again
        raise AlreadyExistsError(
            f"there is a secret {name!r} already",
            hint="choose another name; `volant secret create --force` replaces it",
        )
    return objects_requests.when_kept(session, message, found)


def secret_update(session: Session, message: dict[str, Any]) -> dict[str, Any] | None:
    """Add variables to a secret, in place of those that have the same names."""
    objects, secrets = session.hub.objects, session.hub.secrets
    wanted, variables = text(message, "object_id"), _variables(message)
    if not objects.is_open(session, message) or not objects.tickets.admit(session, message):
        return None
    found = objects.find(stored.KIND, wanted)
    whole = {**secrets.latest(found), **variables}
    if len(whole) > stored.VARIABLES_MAX:
        raise InvalidError(f"{len(whole)} variables in one secret, at most {stored.VARIABLES_MAX}")
    _change(session, message, found, whole)
    return None


def _change(
    session: Session, message: dict[str, Any], found: NamedObject, variables: dict[str, str]
) -> None:
    secrets = session.hub.secrets
    secrets.begin(found.object_id, variables)

    def settled(error: Exception | None) -> None:
        secrets.end(found.object_id, variables, is_kept=error is None)

    session.hub.objects.change(
        session, message, [secrets.row(found.object_id, variables)], found.row(), settled=settled
    )


def _stored(session: Session, found: NamedObject, variables: dict[str, str], error: object) -> None:
    if error is None:
        session.hub.secrets.set(found.object_id, variables)


def _variables(message: dict[str, Any]) -> dict[str, str]:
    """Checked variables; what is wrong is told without a value."""
    variables = mapping(message, "variables")
    if len(variables) > stored.VARIABLES_MAX:
        raise InvalidError(
            f"{len(variables)} variables in one secret, at most {stored.VARIABLES_MAX}"
        )
    for name, value in variables.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValueError("a variable of a secret is no text")
        if not 0 < len(name) <= stored.NAME_CHARS_MAX or "=" in name or "\0" in name + value:
            raise ValueError("a variable of a secret cannot be one")
        if len(value) > stored.VALUE_CHARS_MAX:
            raise ValueError("a value of a secret is too long")
    return variables


HANDLERS = (secret_put, secret_update)
