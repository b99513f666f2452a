"""Secrets that are stored: sealed in the database, in clear in this process alone.

    secret_put ─► sealed ─► on the disk ─► answered ─► meant by whatever starts from now on

What refers to one is completed when a container, or a step of a build, is about to start. No
request gives values away.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from volant.errors import Error, NotFoundError
from volant.wire import values as wire_values
from volantd.hub import checks
from volantd.hub.objects.kinds import ObjectKind
from volantd.hub.secrets.layers import checked_keys
from volantd.sealing.sealer import SealBrokenError, place_of
from volantd.store.journal import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from volantd.hub.environments.record import Environment
    from volantd.hub.hub import Hub
    from volantd.hub.objects.kinds import NamedObject
    from volantd.hub.records import Version
    from volantd.hub.secrets.layers import Layer
    from volantd.sealing.sealer import Unsealed

log = logging.getLogger(__name__)

KIND = "secret"
#: Variables of one secret, and characters of their names and values.
VARIABLES_MAX = 1000
NAME_CHARS_MAX = 16_384
VALUE_CHARS_MAX = 32_768


def _put(connection: Connection, rows: list[tuple[str, Unsealed]]) -> None:
    from volantd.sealing import secrets as store

    for object_id, value in rows:
        store.put(connection, object_id, value.sealed())


#: Behind the row of the object.
PUT = Kind(12, _put)


class UsesSecrets(Protocol):
    """Who starts what has secrets."""

    secrets: Secrets | None


class Secrets:
    """All stored secrets."""

    def __init__(self, hub: Hub, *users: UsesSecrets) -> None:
        """`users`: what has its versions and steps completed."""
        self._hub = hub
        for user in users:
            user.secrets = self
        #: Of who changes the sealing key.
        self.key_lock = asyncio.Lock()
        #: object id -> its variables
        self._values: dict[str, dict[str, str]] = {}
        #: What is just being written, of those that are changed.
        self._coming: dict[str, dict[str, str]] = {}
        #: Why there are none, when they cannot be read.
        self._problem: Error | None = None
        self.kind = ObjectKind(
            name=KIND, prefix="st", tables=("secrets",), is_guarded=True, opening=self._open,
            check=self._check, ended=lambda found: self._values.pop(found.object_id, None),
        )  # fmt: skip
        hub.objects.register(self.kind)

    async def _open(self) -> None:
        from volantd.sealing import secrets as store

        database = self._hub.services.database
        for object_id, sealed in await database.run(store.load):
            try:
                raw = database.sealer.open(place(object_id), sealed)
                told: dict[str, Any] = wire_values.decode_map(raw)
                self._values[object_id] = told
            except SealBrokenError:
                log.exception("secret_unreadable", extra={"fields": {"object_id": object_id}})
            except Error as error:  # of the key: it is the same for all
                self._problem = error
                return

    def _check(self, found: NamedObject, message: dict[str, Any]) -> None:
        """Refuse one that lacks a variable which whoever looks it up requires."""
        if "keys" in message:
            self._check_keys(found, checked_keys(message))

    # -- changing

    def row(self, object_id: str, variables: dict[str, str]) -> tuple[Kind, Any]:
        """The row that keeps the variables of a secret."""
        sealer = self._hub.services.database.sealer
        return PUT, (object_id, sealer.later(place(object_id), wire_values.encode(variables)))

    def of(self, found: NamedObject) -> dict[str, str]:
        """The variables of a secret, a copy.

        Raises:
            NotFoundError: when they cannot be read.
            Error: when none can.
        """
        if self._problem is not None:
            raise self._problem
        if found.object_id not in self._values:
            raise NotFoundError(
                f"secret {found.name!r} cannot be read",
                hint=f"`volant secret create {found.name} ... --force` stores it anew",
            )
        return dict(self._values[found.object_id])

    def latest(self, found: NamedObject) -> dict[str, str]:
        """What a change goes by: `of`, or what it is about to be."""
        return dict(self._coming.get(found.object_id) or self.of(found))

    def begin(self, object_id: str, variables: dict[str, str]) -> None:
        """Note that a secret is about to mean something else."""
        self._coming[object_id] = variables

    def end(self, object_id: str, variables: dict[str, str], *, is_kept: bool) -> None:
        """Note that this has come to be, or has not."""
        if is_kept:
            self._values[object_id] = variables
        if self._coming.get(object_id) is variables:
            del self._coming[object_id]

    def set(self, object_id: str, variables: dict[str, str]) -> None:
        """Have a secret mean something from now on."""
        self._values[object_id] = variables

    # -- using

    async def resolved(self, version: Version) -> Version:
        """A version with the values of what it refers to.

        Raises:
            NotFoundError: when one is not there, or lacks a name that it has to have.
            Error: when none can be read.
        """
        await asyncio.shield(self._hub.objects.opened)
        return version.with_secrets(self.layered(version.stored, version.environment))

    async def of_steps(
        self, stored: dict[str, dict[str, list[Layer]]],
        given: dict[str, dict[str, dict[str, str]]], environment: Environment,
    ) -> dict[str, dict[str, dict[str, str]]]:  # fmt: skip
        """What secrets give the steps of an image: index of a step -> field -> variables.

        Args:
            stored: layers of steps that refer to something.
            given: values of steps.
            environment: of the app that has the image.

        Raises:
            Error: as `resolved`.
        """
        if not stored:
            return given
        await asyncio.shield(self._hub.objects.opened)
        found = {index: dict(fields) for index, fields in given.items()}
        for index, fields in stored.items():
            for field, layers in fields.items():
                own = found.setdefault(index, {})
                own[field] = {**self.layered(layers, environment), **own.get(field, {})}
        return found

    def layered(self, layers: Sequence[Layer], environment: Environment) -> dict[str, str]:
        """The variables of some layers, of which later ones win.

        Args:
            layers: values, and references to what is stored.
            environment: where those are that name none.

        Raises:
            Error: as `resolved`.
        """
        told: dict[str, str] = {}
        for layer in layers:
            told.update(
                layer["values"] if "values" in layer else self._looked_up(layer, environment)
            )
        return told

    def _looked_up(self, layer: Layer, environment: Environment) -> dict[str, str]:
        objects, name, told = self._hub.objects, layer["name"], layer["environment"]
        if told is not None:
            environment = self._hub.environments.find(told)
        found = objects.named(KIND, environment, name)
        if found is None:
            known = objects.names(KIND, environment)
            raise checks.not_found(KIND, name, known, environment=environment.name)
        return self._check_keys(found, layer["keys"])

    def _check_keys(self, found: NamedObject, keys: Sequence[str]) -> dict[str, str]:
        """The variables of a secret, which has those that it has to have."""
        variables = self.of(found)
        missing = [key for key in keys if key not in variables]
        if missing:
            raise NotFoundError(
                f"secret {found.name!r} has no {', '.join(missing)}",
                hint=f"it has {_some(variables)}; `volant.Secret.from_name({found.name!r})."
                "update({...})` adds to it",
            )
        return variables


def place(object_id: str) -> str:
    """What the variables of a secret are sealed for."""
    return place_of("secrets.value", object_id)


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:20]) or "nothing"
