"""What containers printed, for all commands that show logs: as bytes, or as JSON lines.

A terminal gets text instead of bytes, and none of what it would obey (`visible`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from volant.cli.failures import Refused
from volant.cli.shared import hub, show
from volant.cli.shared.filtering import LOOKED_THROUGH, Filter
from volant.cli.shared.visible import Printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Lines shown when nobody says how many.
TAIL_DEFAULT = 100

_KEYS = ("time", "app_id", "container_id", "function", "stream")


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that shows logs."""
    for option in (
        show.json_option,
        click.option(
            "-n", "--tail", type=click.IntRange(min=0), default=TAIL_DEFAULT, show_default=True,
            metavar="N", help="Show the last N lines.",
        ),
        click.option(
            "-f", "--follow", is_flag=True, help="Go on as more comes, until its end or Ctrl-C.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def print_logs(
    noun: str, wanted: str, *, tail: int, follow: bool, as_json: bool,
    goes_on: Callable[..., bool], only: Filter | None = None,
) -> None:  # fmt: skip
    """Show the logs of one app, container or call.

    Args:
        noun: `app`, `container` or `call`.
        goes_on: called with the channel and the reply's id, says whether more may come.
        only: which lines; all by default.
    """
    channel = hub.open_channel()
    if channel is None:
        raise Refused(f"there is no {noun} `{wanted}`: the server is not running")
    only = Filter() if only is None else only
    asked = LOOKED_THROUGH if only.leaves_out and tail else tail
    fields: dict[str, object] = {noun: wanted, "tail": asked, "follow": follow}
    came = hub.keep_events(channel)
    reply = channel.request(f"{noun}_logs", **fields)
    printed = Printed()
    lines = [line for entry in reply["entries"] for line in _chosen(entry, only, as_json=as_json)]
    # All that fits the wish is shown, unless it is the last lines that are asked for.
    kept = lines if tail == TAIL_DEFAULT or not only.leaves_out else lines[-tail:]
    for entry in kept if tail else []:
        _print_entry(entry, printed, as_json=as_json)
    if follow:
        try:
            for event in hub.events(
                channel, came, "log", lambda: goes_on(channel, reply[f"{noun}_id"])
            ):
                for entry in _chosen(event, only, as_json=as_json):
                    _print_entry(entry, printed, as_json=as_json)
        except KeyboardInterrupt:
            pass  # how one stops following
    channel.close()


def _chosen(entry: dict[str, Any], only: Filter, *, as_json: bool) -> Iterator[dict[str, Any]]:
    """What is to be shown of an entry: as it is, or its lines that are wanted."""
    if only.is_plain or (as_json and not only.leaves_out):
        return iter([entry])
    lines = only.lines(entry)
    return lines if as_json else map(only.marked, lines)


def _print_entry(entry: dict[str, Any], printed: Printed, *, as_json: bool) -> None:
    if as_json:
        fields = {key: entry[key] for key in _KEYS if key in entry}
        show.print_json_line({**fields, "calls": entry.get("calls", []), "text": entry["data"]})
        return
    target = sys.stdout if entry["stream"] == "stdout" else sys.stderr
    target.flush()
    if target.isatty():
        target.buffer.write(printed.of(entry).encode(target.encoding, "replace"))
    else:
        target.buffer.write(entry["data"])
    target.flush()
