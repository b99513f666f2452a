"""What a zygote imports, and how it answers: the program of a version, or what one begins with.

Answers are hostile: what is not as the protocol says is a `TypeError`, and everything has a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from volant.runner import control
from volantd.fields import MODULE_NAME_CHARS_MAX, is_module_name

#: Names of threads, and other words, that are kept of one answer; and characters of each.
WORDS_MAX = 100
WORD_CHARS_MAX = 100
#: Names of a prelude, or of late imports, that are kept.
PRELUDE_NAMES_MAX = 200
#: The messages that answer.
ANSWERS = {control.READY, control.PREPARE_FAILED, control.PRELOADED, control.UNFIT}

Value = TypeVar("Value")


class PrepareFailedError(Exception):
    """The user's import raised; `fault` is the encoded exception (see `volant.wire.faults`)."""

    def __init__(self, fault: bytes) -> None:
        super().__init__("importing the user's module failed")
        self.fault = fault


class UnfitError(Exception):
    """What a zygote has imported ahead is not what the program begins with; it is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prelude:
    """What a program imports before it does anything else, and what its zygote needs for it.

    Attributes:
        modules: their names, in the order in which the program imports them.
        late: what its functions begin with importing, as far as a zygote may do it for all.
        web: kinds of functions for which what serves them is imported as well.
        env: the environment of the program.
    """

    modules: tuple[str, ...]
    web: tuple[str, ...]
    env: dict[str, str]
    late: tuple[str, ...] = ()


def answer_of(kind: int, fields: dict[str, Any]) -> dict[str, Any]:
    """What `Zygote.preload` and `Zygote.prepare` return, from one of `ANSWERS`.

    Raises:
        PrepareFailedError: the import raised.
        UnfitError: nothing was imported.
        KeyError, TypeError: for what this protocol does not have.
    """
    if kind == control.PREPARE_FAILED:
        raise PrepareFailedError(checked(fields["fault"], bytes))
    if kind == control.UNFIT:
        raise UnfitError
    if kind == control.PRELOADED:
        return {"culprits": _words(fields["culprits"])}
    return {
        "import_us": checked(fields["import_us"], int),
        "threads": _words(fields["threads"]),
        "asks": checked(fields["asks"], bool),
        "culprits": _words(fields["culprits"]),
        "late": _names(fields["late"]) or (),
        "refused": _refused(fields["refused"]),
        "prelude": _names(fields["prelude"]),
        "is_whole": checked(fields["is_whole"], bool),
    }


def checked(value: Any, kind: type[Value]) -> Value:
    """What a zygote sent, if it is of the type that the protocol says.

    Raises:
        TypeError: if not.
    """
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def _words(value: Any) -> list[str]:
    return [str(word)[:WORD_CHARS_MAX] for word in checked(value, list)[:WORDS_MAX]]


def _refused(value: Any) -> list[str]:
    words = _words(value)
    if len(words) not in (0, 2):
        raise TypeError(f"{len(words)} words in place of a name and a reason")
    return words


def _names(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(checked(name, str) for name in checked(value, list)[:PRELUDE_NAMES_MAX])
    for name in names:
        if not is_module_name(name):
            raise TypeError(f"no name of a module: {name[:MODULE_NAME_CHARS_MAX]!r}")
    return names
