"""Secrets: environment variables whose values are shown nowhere and are part of no key.

    Secret.from_dict / from_local_environ / from_dotenv ─► values, read where they are written
                                                       ─► sent beside what uses them, when it runs

They live as long as the program that made them; the daemon keeps them in memory alone.
"""

from __future__ import annotations

import os

from volant.errors import InvalidError, NotFoundError
from volant.sdk.options import checked_environment
from volant.sdk.planned import Planned, unimplemented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

#: Longest name and longest value, in characters.
NAME_CHARS_MAX = 16_384
VALUE_CHARS_MAX = 32_768


class Secret:
    """Environment variables that only containers and build steps that are given them see."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

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
        if not isinstance(env_dict, dict):
            raise InvalidError(
                "Secret.from_dict needs a dict of strings to strings, got "
                f"{type(env_dict).__name__}"
            )
        given = {name: value for name, value in env_dict.items() if value is not None}
        for name, value in given.items():
            if not isinstance(value, str):
                raise InvalidError(
                    f"Secret: the value of {name!r} must be a string, got {type(value).__name__}"
                )
        values = checked_environment(given, "Secret")
        for name, value in values.items():
            if len(name) > NAME_CHARS_MAX or len(value) > VALUE_CHARS_MAX:
                raise InvalidError(
                    f"Secret: {name[:100]!r} is too long: a name has at most {NAME_CHARS_MAX} "
                    f"characters, a value {VALUE_CHARS_MAX}"
                )
        return Secret(values)

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
            return Secret({})
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
            return Secret({})
        start = directory = os.path.abspath(os.path.expanduser(os.fspath(path or ".")))
        while not os.path.isfile(os.path.join(directory, filename)):
            above = os.path.dirname(directory)
            if above == directory:
                raise NotFoundError(
                    f"Secret.from_dotenv: there is no {filename} in {start}, nor above it"
                )
            directory = above
        found = os.path.join(directory, filename)
        with open(found, encoding="utf-8") as file:
            return Secret.from_dict(dict(_pairs(found, file)))

    @staticmethod
    def from_name(
        name: str, *, environment_name: str | None = None, required_keys: Sequence[str] = ()
    ) -> Secret:
        """A secret that was stored under a name.

        Raises:
            UnimplementedError: secrets are not stored yet.
        """
        raise unimplemented("Secret.from_name")

    @property
    def names(self) -> list[str]:
        """The names of its variables, sorted."""
        return sorted(self._values)

    def __repr__(self) -> str:
        return f"<volant.Secret of {', '.join(self.names) or 'nothing'}>"

    def __reduce__(self) -> tuple[object, ...]:
        # What travels with pickled functions may lie in files; containers have the variables.
        return Secret, ({},)


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


def values_of(where: str, secrets: object) -> dict[str, str]:
    """The variables of some secrets; those of later ones win.

    Raises:
        InvalidError: for what are no secrets.
    """
    if not isinstance(secrets, (list, tuple)) or not all(isinstance(s, Secret) for s in secrets):
        raise InvalidError(
            f"{where}: secrets must be a list of volant.Secret, got {secrets!r}",
            hint='for example secrets=[volant.Secret.from_dict({"API_KEY": "k-123"})]',
        )
    return {name: value for secret in secrets for name, value in secret._values.items()}


for _name in ("update", "info", "objects", "object_id", "hydrate"):
    setattr(Secret, _name, Planned(f"Secret.{_name}"))
