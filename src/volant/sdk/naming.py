"""What apps, functions, tags and images may be called."""

from __future__ import annotations

from volant.errors import InvalidError

NAME_CHARS_MAX = 64
#: Tags of one app.
TAGS_MAX = 64
_NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")


def check_name(what: str, name: str, *, role: str = "name") -> None:
    """Refuse names that could not be looked up.

    Raises:
        InvalidError: unless it is 1 to 64 characters of letters, digits and `-._`.
    """
    good = isinstance(name, str) and 0 < len(name) <= NAME_CHARS_MAX
    if not good or not _NAME_CHARS.issuperset(name):
        raise InvalidError(
            f"{name!r} cannot be the {role} of {what}",
            hint=f"1 to {NAME_CHARS_MAX} letters, digits, `-`, `.` or `_`",
        )


def check_environment(name: str | None) -> str | None:
    """A name that an environment may have, or None.

    Raises:
        InvalidError: for what cannot be one.
    """
    if name is not None:
        check_name("an environment", name)
    return name


def check_version(version: int | None) -> None:
    """Refuse what cannot be the version of a deployed app.

    Raises:
        InvalidError: unless it is a whole number from 1 on, or None.
    """
    if version is not None and (type(version) is not int or version < 1):
        raise InvalidError(
            f"{version!r} cannot be the version of an app", hint="versions count from 1"
        )


def check_id(what: str, wanted: str, prefix: str) -> None:
    """Refuse what cannot be an id.

    Raises:
        InvalidError: unless it is text that begins as such ids do.
    """
    if not isinstance(wanted, str) or not wanted.startswith(prefix):
        raise InvalidError(
            f"{wanted!r} cannot be the id of {what}", hint=f"such ids begin with `{prefix}`"
        )


def checked_tags(tags: dict[str, str]) -> dict[str, str]:
    """A copy of what may be an app's tags.

    Raises:
        InvalidError: unless they are at most `TAGS_MAX` names and values that `check_name` lets
            pass.
    """
    if not isinstance(tags, dict):
        raise InvalidError(f"tags must be a dict of strings to strings, got {tags!r}")
    if len(tags) > TAGS_MAX:
        raise InvalidError(f"{len(tags)} tags for one app, at most {TAGS_MAX}")
    for name, value in tags.items():
        check_name("a tag", name)
        check_name(f"tag {name!r}", value, role="value")
    return dict(tags)
