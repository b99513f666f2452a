"""Asks about one function, class or server by its id or name, and shows what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from volant.cli.failures import Refused
from volant.cli.shared import hub, show
from volant.sdk.calls.autoscaler import Record

if TYPE_CHECKING:
    from collections.abc import Callable


def count_option(name: str, text: str) -> Callable[[Any], Any]:
    """An option that takes a number of containers."""
    return click.option(name, type=click.IntRange(min=0), metavar="COUNT", help=text)


def ask(op: str, noun: str, wanted: str, **fields: object) -> dict[str, Any]:
    """The reply to a request about a function or server.

    Raises:
        Refused: when no daemon runs, so that there is none.
    """
    reply = hub.ask(op, function=wanted, **fields)
    if reply is None:
        raise Refused(f"there is no {noun} `{wanted}`: the server is not running")
    return {name: value for name, value in reply.items() if name != "id"}


def plain(value: Any) -> Any:
    """A value without records, as JSON has it."""
    if isinstance(value, Record):
        return {name: plain(getattr(value, name)) for name in sorted(value._names())}
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def show_record(record: Record, *, as_json: bool) -> None:
    """Print what is known, for people without what nothing is said of."""
    fields = plain(record)
    if as_json:
        show.print_json(fields)
        return
    show.print_fields({name: _words(one) for name, one in fields.items() if one not in _NOTHING})


_NOTHING: tuple[object, ...] = (None, [], {}, [None, None])


def _words(value: Any) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(one)}" for name, one in value.items() if one is not None)
    if isinstance(value, list):
        return ", ".join(str(one) for one in value if one is not None)
    return value
