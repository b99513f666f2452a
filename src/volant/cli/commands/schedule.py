"""`volant schedule`: functions that are called by themselves, and when."""

from __future__ import annotations

from typing import Any

import click

from volant.cli.commands.root import Group
from volant.cli.failures import Refused
from volant.cli.shared import hub, show
from volant.cli.shared.environments import environment_option


@click.group(cls=Group, epilog="\b\nExample:\n  volant schedule list")
def group() -> None:
    """Schedules of the apps that run on this machine.

    FUNCTION is an id (`fu-…`), a name, or `app.name`.
    """


@group.command("list", epilog="\b\nExample:\n  volant schedule list --json")
@show.json_option
@environment_option
def list_schedules(as_json: bool) -> None:
    """List schedules: when each is due, and how its runs went."""
    reply = hub.ask("schedule_list")
    found = reply["schedules"] if reply else []
    if as_json:
        show.print_json(found)
        return
    rows = [{**one, **_words(one)} for one in found]
    columns = (
        "function_id", "app", "name", "schedule", "due", "last_run", "runs", "failures", "skipped",
        "missed",
    )  # fmt: skip
    empty = "no schedules" if reply else "no schedules: the server is not running"
    show.print_table(rows, columns, empty)


def _words(row: dict[str, Any]) -> dict[str, str | None]:
    """Moments of a schedule as people read them."""
    due = None if row["next_due"] is None else show.moment_text(row["next_due"])
    last = None
    if row["running"]:
        last = f"runs as {row['running']}"
    elif row["last_run_at"] is not None:
        outcome = "" if row["last_ok"] else ", failed"
        last = show.moment_text(row["last_run_at"]) + outcome
    return {"due": "paused" if row["paused"] else due, "last_run": last}


@group.command("pause", epilog="\b\nExample:\n  volant schedule pause report.daily")
@click.argument("function")
@show.json_option
@environment_option
def pause(function: str, as_json: bool) -> None:
    """Let the schedule of FUNCTION rest; a run that has begun goes on."""
    row = _ask("schedule_pause", function)
    _show(row, f"paused {_name(row)}", as_json=as_json)


@group.command("resume", epilog="\b\nExample:\n  volant schedule resume report.daily")
@click.argument("function")
@show.json_option
@environment_option
def resume(function: str, as_json: bool) -> None:
    """Let a paused schedule go on; runs that the pause left out are not made up for."""
    row = _ask("schedule_resume", function)
    due = _words(row)["due"] or "never again"
    _show(row, f"resumed {_name(row)}, due {due}", as_json=as_json)


@group.command("run", epilog="\b\nExample:\n  volant schedule run report.daily")
@click.argument("function")
@show.json_option
@environment_option
def run(function: str, as_json: bool) -> None:
    """Run FUNCTION now, as its schedule would, and do not wait for it.

    Refused while it runs: a schedule never runs twice at once.
    """
    row = _ask("schedule_run", function)
    _show(row, f"runs {_name(row)} as {row['call_id']}", as_json=as_json)


def _ask(op: str, function: str) -> dict[str, Any]:
    reply = hub.ask(op, function=function)
    if reply is None:
        raise Refused(f"there is no schedule `{function}`: the server is not running")
    return {name: value for name, value in reply.items() if name != "id"}


def _name(row: dict[str, Any]) -> str:
    return f"{row['app']}.{row['name']}"


def _show(row: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        show.print_json(row)
    else:
        click.echo(text)
