"""Why what is not there is not: every missing name and command has a reason in `reasons.toml`."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from tests.conformance import names
from tests.conformance.commands import command_states
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Reason(NamedTuple):
    #: "hosted", "hardware", "gone", "own" or "not yet"
    kind: str
    text: str
    patterns: tuple[str, ...]


@cache
def reasons() -> tuple[Reason, ...]:
    """All of them, in their order."""
    listed = tomllib.loads((ROOT / "tests/conformance/reasons.toml").read_text())["reason"]
    return tuple(Reason(one["kind"], one["text"], tuple(one["names"])) for one in listed)


def reason_of(wanted: str) -> Reason | None:
    """The first that fits a name, a part of one, or a command."""
    for reason in reasons():
        if any(fnmatchcase(wanted, pattern) for pattern in reason.patterns):
            return reason
    return None


def absences() -> Iterator[str]:
    """All that is not there, as `reasons.toml` calls it; aliases once."""
    for state in names.states():
        if state.state == "missing":
            yield f"{state.module}.{state.name}"
        elif not state.is_alias:
            yield from (part_of(state.module, state.name, lack) for lack in state.lacks)
    for command in command_states():
        if command.state == "missing":
            yield f"$ {command.command}"
        yield from (f"$ {command.command} {lack}" for lack in command.lacks)


def part_of(module: str, name: str, lack: str) -> str:
    """A member or parameter of a name, as `reasons.toml` calls it."""
    return f"{module}.{name}.{lack.replace(': ', '.')}"


def told(lacks: Iterable[tuple[str, str]]) -> str:
    """What is lacking with the reasons, those of one reason together.

    Args:
        lacks: pairs of what is shown, and what `reasons.toml` calls it.
    """
    by_reason: dict[str, list[str]] = {}
    for shown, wanted in lacks:
        reason = reason_of(wanted)
        words = "" if reason is None else f"{reason.kind}: {reason.text}"
        by_reason.setdefault(words, []).append(f"`{shown}`" if shown else "")
    parts = []
    for words, shown_names in by_reason.items():
        listed = ", ".join(one for one in shown_names if one)
        parts.append(f"{listed} ({words})" if listed and words else listed or words)
    return "; ".join(parts)
