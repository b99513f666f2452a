"""How the reading commands show what they found: aligned columns for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from time import time
from typing import TYPE_CHECKING, Any

import click

from volant.cli.failures import colours
from volant.cli.shared.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: `--no-color` of commands that never have colours.
no_color_option: Callable[[Any], Any] = click.option(
    "--no-color", is_flag=True, expose_value=False, help="Accepted: nothing of it has colours."
)
#: `--json` of a reading command.
json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON with lower_snake keys."
)


def print_json(value: object) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=2, default=_plain))


def print_json_line(value: object) -> None:
    """Print one JSON object as a line of a stream."""
    print(json.dumps(value, default=_plain), flush=True)


def _plain(value: object) -> object:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} is no JSON")


def print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str], empty: str) -> None:
    """Print rows under a header.

    Args:
        rows: by column name; a value of None is shown as a dash.
        columns: which, in which order; their names with spaces are the header.
        empty: said on standard error when there are no rows.
    """
    if not rows:
        print(empty, file=sys.stderr)
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    heads = [column.replace("_", " ") for column in columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    dim, plain = ("\x1b[2m", "\x1b[0m") if colours(sys.stdout) else ("", "")
    print(f"{dim}{_line(heads, widths)}{plain}")
    for row in cells:
        print(_line(row, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, dict):
        value = [f"{name}={part}" for name, part in value.items()]
    if isinstance(value, (list, tuple)):
        shown = visible(", ".join(map(str, value[:4])))
        return f"{shown}, … ({len(value)})" if len(value) > 4 else shown or "-"
    return visible(str(value))


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one record, a line for each field."""
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name.replace('_', ' '):<{width}}  {_cell(value)}")


def age(moment: float) -> str:
    """How long ago a time in seconds since the epoch was."""
    return f"{duration(time() - moment)} ago"


def duration(taken_s: float) -> str:
    """A duration in its two largest units, such as `2 h 5 min`."""
    seconds = max(0, int(taken_s))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def memory(size_bytes: int | None) -> str:
    """A size in MiB."""
    return "-" if size_bytes is None else f"{size_bytes / (1 << 20):.1f} MiB"


def moment_text(moment: float) -> str:
    """A time as people in this time zone write it."""
    return datetime.fromtimestamp(moment, timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")
