"""Fields of what strangers send, checked as they are taken; ValueError names a wrong one."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Characters of the longest name of a module that is taken.
MODULE_NAME_CHARS_MAX = 200


def whole(fields: dict[str, Any], name: str, low: int = 0, high: int = (1 << 63) - 1) -> int:
    """A field that is a whole number from `low` to `high`."""
    value = fields[name]
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"`{name}` is no number from {low} to {high}")
    return value


def number(fields: dict[str, Any], name: str, low: float, high: float = 1e12) -> float:
    """A field that is a finite number from `low` to `high`."""
    value = fields[name]
    if type(value) not in (int, float) or not isfinite(value) or not low <= value <= high:
        raise ValueError(f"`{name}` is no number from {low} to {high}")
    return float(value)


def text(fields: dict[str, Any], name: str) -> str:
    """A field that is text."""
    value = fields[name]
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is no text")
    return value


def raw(fields: dict[str, Any], name: str) -> bytes:
    """A field that is bytes."""
    value = fields[name]
    if not isinstance(value, bytes):
        raise ValueError(f"`{name}` is no bytes")
    return value


def switch(fields: dict[str, Any], name: str) -> bool:
    """A field that is true or false."""
    value = fields[name]
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` is neither true nor false")
    return value


def mapping(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """A field that is a map."""
    value = fields[name]
    if not isinstance(value, dict):
        raise ValueError(f"`{name}` is no map")
    return value


def sequence(fields: dict[str, Any], name: str) -> list[Any]:
    """A field that is a list."""
    value = fields[name]
    if not isinstance(value, list):
        raise ValueError(f"`{name}` is no list")
    return value


def module_names(fields: dict[str, Any], name: str, count_max: int) -> tuple[str, ...]:
    """A field that is a list of dotted names of modules."""
    names = sequence(fields, name)
    if len(names) > count_max or not all(map(is_module_name, names)):
        raise ValueError(f"`{name}` is no list of at most {count_max} names of modules")
    return tuple(names)


def is_module_name(value: object) -> bool:
    """Whether something could stand behind `import`."""
    if not isinstance(value, str) or len(value) > MODULE_NAME_CHARS_MAX:
        return False
    return all(part.isidentifier() for part in value.split("."))


def optional(check: Callable[..., Any], fields: dict[str, Any], name: str, *limits: float) -> None:
    """A field that may be null."""
    if fields[name] is not None:
        check(fields, name, *limits)
