"""`volant function`: the functions and classes of this machine, and their autoscalers."""

from __future__ import annotations

from typing import Any

import click

from volant.cli.commands.pools import functions
from volant.cli.commands.pools.asked import ask, count_option
from volant.cli.commands.root import Group
from volant.cli.failures import Refused
from volant.cli.shared import hub, show
from volant.cli.shared.environments import environment_option
from volant.errors import InvalidError
from volant.sdk.options import checked_autoscaler

#: What stands for no maximum of one's own.
NO_MAXIMUM = "default"


@click.group(cls=Group, epilog="\b\nExample:\n  volant function stats report.square")
def group() -> None:
    """Functions and classes of the apps that run on this machine.

    FUNCTION is an id (`fu-…`), a name, or `app.name`. Pools with other options or parameters have
    ids only, which `volant function list` shows.
    """


@group.command("list", epilog="\b\nExample:\n  volant function list --json")
@show.json_option
@environment_option
def list_functions(as_json: bool) -> None:
    """List functions and classes, and their pools with other options or parameters."""
    reply = hub.ask("function_list")
    found = reply["functions"] if reply else []
    if as_json:
        show.print_json(found)
        return
    rows = [
        {
            **one, "containers": one["num_total_runners"], "running": one["num_running_inputs"],
            "kind": f"{one['kind']}, variant" if one["variant"] else one["kind"],
        }
        for one in found
    ]  # fmt: skip
    columns = ("function_id", "app", "name", "kind", "containers", "running", "backlog")
    empty = "no functions" if reply else "no functions: the server is not running"
    show.print_table(rows, columns, empty)


@group.command("stats", epilog="\b\nExample:\n  volant function stats report.square --json")
@click.argument("function")
@show.json_option
@show.no_color_option
@environment_option
def stats(function: str, as_json: bool) -> None:
    """Show how many inputs of FUNCTION wait and run, in how many containers."""
    _show(_ask("function_stats", function), as_json=as_json)


@group.group(
    "autoscaler", cls=Group, epilog="\b\nExample:\n  volant function autoscaler settings square"
)
def autoscaler() -> None:
    """The settings by which containers of a function are started and stopped."""


@autoscaler.command("settings", epilog="\b\nExample:\n  volant function autoscaler settings square")
@click.argument("function")
@show.json_option
@environment_option
def settings(function: str, as_json: bool) -> None:
    """Show the settings of FUNCTION's autoscaler."""
    _show(_named(_ask("function_settings", function)), as_json=as_json)


def _maximum(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """The number that was given, None for the default, and the text itself for nothing."""
    if value is None or value == NO_MAXIMUM:
        return value
    if not value.isdecimal():
        raise click.BadParameter(f"a number or `{NO_MAXIMUM}` is expected, not `{value}`")
    return int(value)


@autoscaler.command(
    "update",
    epilog="\b\nExamples:\n  volant function autoscaler update square --min-containers 2\n"
    "  volant function autoscaler update fu-01h2… --max-containers default",
)
@click.argument("function")
@count_option("--min-containers", "Containers that are kept ready.")
@click.option(
    "--max-containers", metavar="COUNT", callback=_maximum,
    help=f"Containers that it has at most; `{NO_MAXIMUM}`: 8 for each processor core.",
)  # fmt: skip
@count_option("--buffer-containers", "Containers kept ready above the need, while there is any.")
@click.option(
    "--scaledown-window", type=float, metavar="SECONDS", help="How long an idle one is kept."
)
@show.json_option
@environment_option
def update(function: str, as_json: bool, **given: Any) -> None:
    """Change the autoscaler of FUNCTION while its app runs, and show all its settings.

    What is not given stays as it is.
    """
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise Refused(
            "there is nothing to change", hint="`volant function autoscaler update --help`"
        )
    if changes.get("max_containers") == NO_MAXIMUM:
        changes["max_containers"] = None
    try:
        fields = checked_autoscaler(changes)
    except InvalidError as error:
        raise Refused(str(error)) from None
    _show(_named(_ask("function_update", function, **fields)), as_json=as_json)


def _ask(op: str, function: str, **fields: object) -> dict[str, Any]:
    return ask(op, "function", function, **fields)


def _named(reply: dict[str, Any]) -> dict[str, Any]:
    """The settings under the names that they have in programs."""
    return {"scaledown_window" if name == "scaledown_window_s" else name: value
            for name, value in reply.items()}  # fmt: skip


def _show(fields: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show.print_json(fields)
    else:
        show.print_fields(fields)


for _command in (functions.info, functions.logs, functions.calls, functions.variants):
    group.add_command(_command)
