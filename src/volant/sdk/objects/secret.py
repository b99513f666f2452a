"""Secrets: environment variables whose values are shown nowhere and are part of no key.

Secret.from_dict / from_local_environ / from_dotenv ─► values, read where they are written
                                                   ─► sent beside what uses them, when it runs
Secret.from_name ─► a name; the daemon has the values, and gives them to containers alone
"""

from __future__ import annotations

import os

from volant.errors import InvalidError, NotFoundError
from volant.sdk.naming import check_environment, check_name
from volant.sdk.objects.asking import both, change
from volant.sdk.objects.handle import check_client
from volant.sdk.objects.named import Named, Objects, new
from volant.sdk.options import checked_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any, NoReturn

    from volant.sdk.objects.asking import Question, Steps
    from volant.sdk.objects.client import Client

    #: What functions and steps are given: layers that refer to what is stored, and the values
    #: behind the last of them. `volantd` looks the former up.
    Given = tuple[list[dict[str, Any]], dict[str, str]]

#: Longest name and longest value, in characters.
NAME_CHARS_MAX = 16_384
VALUE_CHARS_MAX = 32_768


class Secret(Named):
    """Environment variables that only containers and build steps that are given them see."""

    _kind = "secret"
    _prefix = "st"

    objects: SecretObjects

    def __init__(
        self, name: str | None, environment: str | None, object_id: str | None,
        values: dict[str, str] | None = None, required: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(name, environment, object_id)
        #: Of one that is not stored.
        self._values = values
        self._required = list(required)

    @staticmethod
    def from_dict(env_dict: Mapping[str, str | None]) -> Secret:
        """A secret of these variables.

        Args:
            env_dict: strings to strings; a name with None is left out.

        Raises:
            InvalidError: for what is no variable, or too long.

        Example:
            >>> Secret.from_dict({"API_KEY": "k-123"})
            <volant.Secret of API_KEY>
        """
        return Secret(None, None, None, checked_variables("Secret", env_dict))

    @staticmethod
    def from_local_environ(env_keys: Sequence[str]) -> Secret:
        """A secret of environment variables of this process.

        In containers it is empty: what it stood for came with the container.

        Args:
            env_keys: their names.

        Raises:
            InvalidError: for what is no list of names.
            NotFoundError: for a variable that is not set.

        Example:
            >>> Secret.from_local_environ(["PATH"])
            <volant.Secret of PATH>
        """
        from volant.sdk.ambient import is_local

        if isinstance(env_keys, str) or not all(isinstance(key, str) for key in env_keys):
            raise InvalidError(f"Secret.from_local_environ needs a list of names, got {env_keys!r}")
        if not is_local():
            return Secret(None, None, None, {})
        missing = [key for key in env_keys if key not in os.environ]  # noqa: TID251 - no settings
        if missing:
            raise NotFoundError(
                f"Secret.from_local_environ: {', '.join(missing)} is not set",
                hint=f"set it, for example `export {missing[0]}=...`",
            )
        return Secret.from_dict({key: os.environ[key] for key in env_keys})  # noqa: TID251

    @staticmethod
    def from_dotenv(path: str | Path | None = None, *, filename: str = ".env") -> Secret:
        """A secret of the variables in a file of lines `NAME=value`.

        Lines may begin with `export`, values may be quoted (double quotes know backslashes, as
        for a new line), and `#` begins a comment. In containers it is empty, as the one of
        `from_local_environ`.

        Args:
            path: where to begin, the working directory by default. The file is looked for there
                and in every directory above.
            filename: its name.

        Raises:
            InvalidError: for a line that sets nothing.
            NotFoundError: when there is no such file.
        """
        from volant.sdk.ambient import is_local

        if not is_local():
            return Secret(None, None, None, {})
        start = directory = os.path.abspath(os.path.expanduser(os.fspath(path or ".")))
        while not os.path.isfile(os.path.join(directory, filename)):
            above = os.path.dirname(directory)
            if above == directory:
                raise NotFoundError(
                    f"Secret.from_dotenv: there is no {filename} in {start}, nor above it"
                )
            directory = above
        found = os.path.join(directory, filename)
        return Secret.from_dict(read_dotenv(found))

    @classmethod
    def from_name(  # type: ignore[override]  # it is not made by being looked up
        cls, name: str, *, environment_name: str | None = None,
        required_keys: Sequence[str] = (), client: Client | None = None,
    ) -> Secret:  # fmt: skip
        """A secret that is stored under a name; asks nobody until it is used.

        Its values do not come here: the daemon gives them to the containers and build steps that
        have this secret, as they are when one starts.

        Args:
            name: 1 to 64 letters, digits, `-`, `.` or `_`.
            environment_name: where it is; by default the environment of this process.
            required_keys: variables without which nothing starts that has it.
            client: of no need: a process has one.

        Raises:
            InvalidError: for what cannot be a name, and for what is no list of variables.

        Example:
            >>> Secret.from_name("database", required_keys=["PGPASSWORD"])
            <volant.Secret database>
        """
        check_name("a Secret", name)
        check_client(client)
        if isinstance(required_keys, str) or not all(isinstance(key, str) for key in required_keys):
            raise InvalidError(
                f"Secret.from_name: required_keys must be a list of names, got {required_keys!r}"
            )
        return cls(name, check_environment(environment_name), None, required=required_keys)

    @staticmethod
    def ephemeral(**_: object) -> NoReturn:  # type: ignore[override]  # refused
        """There is no such thing: a secret of one program is one of `from_dict`.

        Raises:
            InvalidError: always.
        """
        raise InvalidError(
            "a secret of one program alone is made by Secret.from_dict",
            hint='secrets=[volant.Secret.from_dict({"API_KEY": ...})]',
        )

    @both
    def update(self, env_dict: Mapping[str, str | None]) -> Steps[None]:
        """Add variables to a stored secret, in place of those of the same names: `update({...})`.

        Containers that run keep what they have; those that start from now on have this.

        Raises:
            InvalidError: for what is no variable, and for a secret that is not stored.
            NotFoundError: when there is no such secret.
        """
        variables = checked_variables("Secret.update", env_dict)
        yield change("secret_update", object_id=(yield from self._id()), variables=variables)

    def _found(self) -> Steps[None]:
        if self._values is not None:
            raise InvalidError(
                "this secret is not stored, so it has no name and cannot be changed",
                hint="Secret.objects.create(name, {...}) stores one, Secret.from_name finds it",
            )
        yield from super()._found()

    def _wishes(self) -> dict[str, object]:
        return {"keys": list(self._required)} if self._required else {}

    def _reference(self) -> dict[str, Any]:
        """What stands for it where it is given to something."""
        return {"name": self._name, "environment": self._environment, "keys": self._required}

    @property
    def names(self) -> list[str]:
        """The names of its variables, sorted; of one that is stored those that are required."""
        return sorted(self._values if self._values is not None else self._required)

    def __repr__(self) -> str:
        if self._values is None:
            return super().__repr__()
        return f"<volant.Secret of {', '.join(self.names) or 'nothing'}>"

    def __reduce__(self) -> tuple[object, ...]:
        # What travels with pickled functions may lie in files; containers have the variables.
        values: dict[str, str] | None = None if self._values is None else {}
        return Secret, (self._name, self._environment, self._object_id, values, self._required)


class SecretObjects(Objects[Secret]):
    """`Secret.objects`."""

    @both
    def create(  # type: ignore[override]  # a secret is made with its variables
        self, name: str, env_dict: Mapping[str, str | None], *, allow_existing: bool = False,
        environment_name: str | None = None, client: Client | None = None,
    ) -> Steps[None]:  # fmt: skip
        """Store a secret.

        Raises:
            AlreadyExistsError: when there is one of that name, unless `allow_existing`, which
                leaves it as it is.
            InvalidError: for what cannot be a name, and for what is no variable.
        """
        check_client(client)
        yield put(
            name, env_dict, allow_existing=allow_existing, replace=False,
            environment_name=environment_name,
        )  # fmt: skip


Secret.objects = SecretObjects(Secret)


def put(
    name: str, env_dict: Mapping[str, str | None], *, allow_existing: bool, replace: bool,
    environment_name: str | None,
) -> Question:  # fmt: skip
    """The question that stores a secret; `replace` for one that is there already.

    Raises:
        InvalidError: for what cannot be a name, and for what is no variable.
    """
    check_name("a Secret", name)
    return change(
        "secret_put", kind=Secret._kind, name=name, allow_existing=allow_existing, replace=replace,
        variables=checked_variables("Secret", env_dict),
        environment=check_environment(environment_name), **new(Secret._prefix),
    )  # fmt: skip


def read_dotenv(path: str) -> dict[str, str]:
    """The variables of a file of lines `NAME=value`.

    Raises:
        InvalidError: for a line that sets nothing.
        OSError: when it cannot be read.
    """
    with open(path, encoding="utf-8") as file:
        return dict(_pairs(path, file))


def _pairs(path: str, lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("export ").lstrip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        name = name.rstrip()
        if not equals or not name.isidentifier():
            raise InvalidError(f"{path}, line {number}: a line must be NAME=value")
        yield name, _value(f"{path}, line {number}", value.strip())


def _value(where: str, text: str) -> str:
    quote = text[:1]
    if quote not in ("'", '"') or not quote:
        return text.partition(" #")[0].rstrip()
    import re

    found = re.match(r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"", text)
    if found is None:
        raise InvalidError(f"{where}: a quote has no end")
    if quote == "'":
        return found[1]
    meant = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda escape: meant.get(escape[1], escape[1]), found[2])


def checked_variables(where: str, env_dict: object) -> dict[str, str]:
    """A copy of what may be the variables of a secret, without those that are None.

    Raises:
        InvalidError: for what is no variable, or too long; values are not told.
    """
    if not isinstance(env_dict, dict):
        raise InvalidError(
            f"{where} needs a dict of strings to strings, got {type(env_dict).__name__}"
        )
    given = {name: value for name, value in env_dict.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, str):
            raise InvalidError(
                f"{where}: the value of {name!r} must be a string, got {type(value).__name__}"
            )
    values = checked_environment(given, where)
    for name, value in values.items():
        if len(name) > NAME_CHARS_MAX or len(value) > VALUE_CHARS_MAX:
            raise InvalidError(
                f"{where}: {name[:100]!r} is too long: a name has at most {NAME_CHARS_MAX} "
                f"characters, a value {VALUE_CHARS_MAX}"
            )
    return values


def given_by(where: str, secrets: object, before: Given = ([], {})) -> Given:
    """What some secrets give behind those before them; later ones win.

    Raises:
        InvalidError: for what are no secrets.
    """
    if not isinstance(secrets, (list, tuple)) or not all(isinstance(s, Secret) for s in secrets):
        raise InvalidError(
            f"{where}: secrets must be a list of volant.Secret, got {_kinds(secrets)}",
            hint='for example secrets=[volant.Secret.from_dict({"API_KEY": "k-123"})]',
        )
    stored, values = list(before[0]), dict(before[1])
    for secret in secrets:
        if secret._values is not None:
            values.update(secret._values)
            continue
        if values:
            stored.append({"values": values})
            values = {}
        stored.append(secret._reference())
    return stored, values


def _kinds(given: object) -> str:
    """What was given, without what may be in it."""
    kind = type(given).__name__
    if isinstance(given, (list, tuple)):
        kind += f" of {', '.join(sorted({type(one).__name__ for one in given}))}"
    return kind
