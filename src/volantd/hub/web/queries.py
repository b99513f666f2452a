"""What the query of a request means to the parameters of a class.

    ?size=4&loud=true  ──gateway──►  {"size": b"4", "loud": b"true"}  ──►  the bytes of that pool

The bytes are those that the SDK makes of the same values (`volant/sdk/classes/parameters.py`), so
that requests and calls share containers. What a class has is described by a client, who may be
user code in a container.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volant.wire import values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The first byte of a set of values.
_VALUES = b"V"
_DIGITS = re.compile(r"-?[0-9]{1,20}")
_FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
#: Characters of a decimal number.
_FLOAT_CHARS_MAX = 400
_INT_MIN, _INT_LIMIT = -(1 << 63), 1 << 64
_SWITCHES = {"true": True, "1": True, "false": False, "0": False}
#: Characters of a value that is wrong, as clients are told of it.
SHOWN_CHARS_MAX = 80


class Parameters:
    """The parameters of a class that its constructor takes."""

    def __init__(self, schema: bytes) -> None:
        """Learn them from what `volant/sdk/classes/schema.py` tells; b"": there are none.

        Raises:
            ValueError: for what that never tells.
        """
        self._rows: dict[str, tuple[Any, bool, Any]] = {}
        described: Any = values.decode_map(schema)["parameters"] if schema else []
        if not isinstance(described, list):
            raise ValueError("the parameters of a class are no list")
        for row in described:
            if not isinstance(row, list) or len(row) != 4:
                raise ValueError("a parameter of a class is not what it has to be")
            name, kind, has_default, default = row
            if not isinstance(name, str) or not isinstance(has_default, bool):
                raise ValueError("a parameter of a class is not what it has to be")
            self._rows[name] = _checked_kind(kind), has_default, default

    def names(self) -> list[str]:
        """Their names."""
        return list(self._rows)

    def encode(self, class_name: str, given: Mapping[str, bytes]) -> bytes:
        """A set of values as bytes; b"" for the defaults. Names that there are not are ignored.

        Raises:
            InvalidError: naming a parameter that is lacking, or whose value it cannot have.
        """
        found: dict[str, object] = {}
        for name in sorted(self._rows):
            kind, has_default, default = self._rows[name]
            if name in given:
                value = _read(kind, given[name], name)
                if not has_default or value != default:
                    found[name] = value
            elif not has_default:
                raise InvalidError(
                    f"`{class_name}` lacks the parameter `{name}`: add `{name}=...` to the query"
                )
        return _VALUES + values.encode(found) if found else b""


def _checked_kind(kind: Any) -> Any:
    """A kind as `_read` takes it: the name of a plain type, or the members of an enum, or None.

    Raises:
        ValueError: for what is none.
    """
    if isinstance(kind, str) and kind in (*_READERS, "bytes"):
        return kind
    if isinstance(kind, list) and len(kind) == 2 and isinstance(kind[1], list):
        if kind[0] == "enum" and all(isinstance(member, str) for member in kind[1]):
            return frozenset(kind[1])
        if kind[0] == "dataclass":
            return None
    raise ValueError("a parameter of a class has no kind that there is")


def _read(kind: Any, raw: bytes, name: str) -> object:
    if kind is None:
        raise InvalidError(f"the parameter `{name}` is a dataclass, which no query can give")
    if kind == "bytes":
        return raw
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidError(f"the parameter `{name}` is no text") from None
    if isinstance(kind, frozenset):
        if text in kind:
            return text
        raise InvalidError(f"the parameter `{name}` must be {_choice(kind)}, got {_shown(text)}")
    value = _READERS[kind](text)
    if value is None:
        raise InvalidError(f"the parameter `{name}` must be {_NOUNS[kind]}, got {_shown(text)}")
    return value


def _whole(text: str) -> int | None:
    if _DIGITS.fullmatch(text) and _INT_MIN <= int(text) < _INT_LIMIT:
        return int(text)
    return None


def _decimal(text: str) -> float | None:
    if len(text) > _FLOAT_CHARS_MAX or not _FLOAT.fullmatch(text):
        return None
    return float(text) if isfinite(float(text)) else None


def _switch(text: str) -> bool | None:
    return _SWITCHES.get(text.lower())


_READERS: dict[str, Callable[[str], object]] = {
    "str": lambda text: text, "int": _whole, "float": _decimal, "bool": _switch,
}  # fmt: skip
_NOUNS = {
    "int": "a whole number of 64 bits", "float": "a finite number", "bool": "true or false",
}  # fmt: skip


def _choice(members: frozenset[str]) -> str:
    return f"one of {', '.join(sorted(members))}"[:SHOWN_CHARS_MAX]


def _shown(text: str) -> str:
    return ascii(text[:SHOWN_CHARS_MAX])
