"""The words of instructions: variables put in, quotes taken off, flags and lists taken apart.

Source: https://docs.docker.com/reference/dockerfile/ (environment replacement, exec form, flags).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(
    r"\$(?:(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<braced>[A-Za-z_]\w*)(?::(?P<mark>[-+])(?P<word>[^{}]*))?\})"
)
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|$)")
#: What a backslash in double quotes takes its meaning from.
_ESCAPED_IN_QUOTES = '"$\\'


def split(text: str, variables: Mapping[str, str]) -> list[str]:
    """Words as a shell splits them, with variables put in except in single quotes.

    Known forms are `$A`, `${A}`, `${A:-if empty}` and `${A:+if not}`; a backslash before a dollar
    makes it a plain one.

    Raises:
        ValueError: for another form, and for a quote without an end.
    """
    return _read(text, variables, splits=True)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """One text with its variables put in, quotes taken off and spaces kept.

    Raises:
        ValueError: as `split`.
    """
    return "".join(_read(text, variables, splits=False))


def _read(text: str, variables: Mapping[str, str], *, splits: bool) -> list[str]:
    found: list[str] = []
    word, quote, at, begun = "", "", 0, False
    while at < len(text):
        char = text[at]
        if quote == "'" and char != "'":
            word += char
        elif char == "\\" and _escapes(quote, text[at + 1 : at + 2]):
            at += 1
            word += text[at]
            begun = True
        elif char in ("'", '"') and quote in ("", char):
            quote, begun = "" if quote else char, True
        elif char == "$":
            value, at = _value(text, at, variables)
            word += value
            continue
        elif splits and char.isspace() and not quote:
            if word or begun:
                found.append(word)
            word, begun = "", False
        else:
            word += char
        at += 1
    if quote:
        raise ValueError(f"a quote in {text!r} has no end")
    return [*found, word] if word or begun else found


def _escapes(quote: str, following: str) -> bool:
    return bool(following) and (not quote or following in _ESCAPED_IN_QUOTES)


def _value(text: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """What the variable at a dollar stands for, and where the text goes on."""
    match = _VARIABLE.match(text, at)
    if match is None:
        if text.startswith("${", at):
            raise ValueError(f"a variable in {text!r} has a form that is not known")
        return "$", at + 1
    held = variables.get(match["plain"] or match["braced"], "")
    if match["mark"] == "-" and not held:
        held = expand(match["word"], variables)
    elif match["mark"] == "+":
        held = expand(match["word"], variables) if held else ""
    return held, match.end()


def flags(rest: str) -> tuple[dict[str, list[str]], str]:
    """The `--name=value` words that an instruction begins with, and what follows them."""
    found: dict[str, list[str]] = {}
    while match := _FLAG.match(rest):
        found.setdefault(match[1], []).append(match[2] if match[2] is not None else "true")
        rest = rest[match.end() :]
    return found, rest


def listed(rest: str) -> list[str] | None:
    """The words of the form `["a", "b"]`; None for any other."""
    if not rest.startswith("["):
        return None
    try:
        words = json.loads(rest)
    except ValueError:
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return words


def pairs(rest: str, variables: Mapping[str, str]) -> dict[str, str]:
    """What `ENV a=1 b="2 3"` sets, and the old form `ENV a 1`.

    Raises:
        ValueError: for what is neither.
    """
    first, space, value = rest.partition(" ")
    if "=" not in first:
        if not first or not space:
            raise ValueError(f"{rest!r} sets nothing")
        return {first: expand(value.strip(), variables)}
    found: dict[str, str] = {}
    for word in split(rest, variables):
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ValueError(f"{word!r} is no NAME=VALUE")
        found[name] = value
    return found
