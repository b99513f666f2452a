"""`volant call list`, `show`, `logs` and `cancel`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from volant.cli.commands.root import Group
from volant.cli.failures import Refused
from volant.cli.shared import hub, show
from volant.cli.shared.environments import environment_option
from volant.cli.shared.logs import log_options, print_logs

if TYPE_CHECKING:
    from volant.channel.channel import Channel

#: Calls that are listed when nobody says how many.
LIMIT_DEFAULT = 50
LIMIT_MAX = 10_000
STATES = ("pending", "success", "failure", "cancelled")


@click.group(cls=Group, epilog="\b\nExample:\n  volant call list")
def group() -> None:
    """Calls that are kept: those of `spawn`, `spawn_map` and schedules.

    CALL is an id (`fc-…`).
    """


@group.command(
    "list", epilog="\b\nExamples:\n  volant call list\n"
    "  volant call list --app shop --state failure --json"
)  # fmt: skip
@click.option("--app", metavar="APP", help="Only those of APP, an id or a name.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option(
    "-n", "--limit", type=click.IntRange(0, LIMIT_MAX), default=LIMIT_DEFAULT, show_default=True,
    metavar="N", help="The latest N.",
)  # fmt: skip
@show.json_option
@environment_option
def list_calls(app: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List calls, the newest last."""
    reply = hub.ask("call_list", app=app, state=state, count=limit)
    found = reply["calls"][::-1] if reply else []
    if as_json:
        show.print_json(found)
        return
    print_calls(found, "no calls" if reply else "no calls: the server is not running")


def print_calls(found: list[dict[str, Any]], empty: str) -> None:
    """Show calls as a table."""
    columns = (
        "call_id", "app", "function", "version", "state", "inputs", "failed", "created", "took",
        "origin",
    )  # fmt: skip
    show.print_table([{**one, **_words(one)} for one in found], columns, empty)


def _words(call: dict[str, Any]) -> dict[str, object]:
    """Fields of a call as people read them."""
    took = None
    if call["finished_at"] is not None:
        took = show.duration(call["finished_at"] - call["created_at"])
    return {
        "version": call["version"] or None, "inputs": f"{call['done']}/{call['inputs']}",
        "failed": call["failed"] or None, "created": show.age(call["created_at"]), "took": took,
    }  # fmt: skip


@group.command("show", epilog="\b\nExample:\n  volant call show fc-01h2xcejqtf2nbre000000000a")
@click.argument("call")
@show.json_option
def show_call(call: str, as_json: bool) -> None:
    """Show CALL: how it stands, why inputs failed, and which calls it made."""
    reply = _ask("call_show", call)
    shown = {name: value for name, value in reply.items() if name != "id"}
    if as_json:
        show.print_json(shown)
        return
    row, results = shown["call"], shown["results"]
    fields = {**row, **_words(row)}
    del fields["created_at"], fields["finished_at"], fields["done"]
    kinds = {name: count for name, count in results.items() if count}
    index = fields.pop("parent_index")
    if row["parent"] is not None:
        fields["parent"] = f"{row['parent']}, input {index}"
    show.print_fields({**fields, "results": kinds})
    for fault in shown["faults"]:
        click.echo(f"\ninput {fault['index']} failed:\n{fault['text']}")
    if len(shown["faults"]) < row["failed"]:
        click.echo(f"\n{row['failed'] - len(shown['faults'])} further inputs failed")
    if shown["calls"]:
        click.echo("\ncalls that it made:")
        print_calls(shown["calls"], "")


@group.command("logs", epilog="\b\nExample:\n  volant call logs fc-01h2… --follow")
@click.argument("call")
@log_options
def call_logs(call: str, tail: int, follow: bool, as_json: bool) -> None:
    """Show what containers printed while they ran CALL.

    Where a container runs inputs of several calls at once, that is what any of them printed.
    """
    print_logs("call", call, tail=tail, follow=follow, as_json=as_json, goes_on=_runs)


def _runs(channel: Channel, call_id: str) -> bool:
    state: str = channel.request("call_show", call=call_id)["call"]["state"]
    return state == "pending"


@group.command("cancel", epilog="\b\nExample:\n  volant call cancel fc-01h2…")
@click.argument("call")
@click.option(
    "--terminate-containers", is_flag=True,
    help="End the containers that run it; what else they run is run elsewhere.",
)  # fmt: skip
def cancel(call: str, terminate_containers: bool) -> None:
    """Cancel what has not finished of CALL."""
    reply = _ask("call_cancel", call, terminate=terminate_containers)
    if reply["cancelled"]:
        click.echo(f"cancelled {call}")
    else:
        print(f"{call} had finished already", file=sys.stderr)


def _ask(op: str, call: str, **fields: object) -> dict[str, Any]:
    """Ask about a call.

    Raises:
        Refused: when no daemon runs.
    """
    reply = hub.ask(op, call=call, **fields)
    if reply is None:
        raise Refused(
            f"there is no call `{call}`: the server is not running",
            hint="`volant server start` goes on with what was there",
        )
    return reply
