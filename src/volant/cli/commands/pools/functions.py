"""`volant function info`, `logs`, `calls` and `variants`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from volant.cli.commands.call.looking import LIMIT_MAX, print_calls
from volant.cli.commands.pools.asked import ask, show_record
from volant.cli.shared import hub, show
from volant.cli.shared.environments import environment_option
from volant.cli.shared.filtering import Filter, log_filters, moment
from volant.cli.shared.logs import log_options, print_logs
from volant.sdk.calls.described import FunctionInfo

if TYPE_CHECKING:
    from volant.channel.channel import Channel

#: Calls that are shown when nobody says how many.
TAIL_DEFAULT = 100

_of_all_variants = click.option(
    "--all-variants", is_flag=True, expose_value=False,
    help="Accepted: pools with other options or parameters are always part of it.",
)  # fmt: skip


@click.command("info", epilog="\b\nExample:\n  volant function info report.square --json")
@click.argument("function")
@show.json_option
@environment_option
def info(function: str, as_json: bool) -> None:
    """Show what FUNCTION was described with: resources, limits, volumes, web addresses."""
    show_record(FunctionInfo(ask("function_info", "function", function)), as_json=as_json)


@click.command("logs", epilog="\b\nExample:\n  volant function logs report.square --tail 20 -f")
@click.argument("function")
@log_options
@partial(log_filters, without="--function")
@_of_all_variants
@environment_option
def logs(function: str, tail: int, follow: bool, as_json: bool, **wanted: Any) -> None:
    """Show what the containers of FUNCTION printed."""
    print_logs_of("function", function, tail, wanted, follow=follow, as_json=as_json)


def print_logs_of(
    noun: str, wanted: str, tail: int, filters: dict[str, Any], *, follow: bool, as_json: bool
) -> None:
    """Show what the containers of one function or server printed."""
    found = ask("function_info", noun, wanted)
    only = Filter(function=found["name"], **filters)
    print_logs(
        "app", found["app_id"], tail=tail, follow=follow, as_json=as_json, goes_on=_runs, only=only
    )


def _runs(channel: Channel, app_id: str) -> bool:
    apps = channel.request("app_list")["apps"]
    return any(app["app_id"] == app_id and app["state"] != "stopped" for app in apps)


@click.command("calls", epilog="\b\nExample:\n  volant function calls report.square --since 1d")
@click.argument("function")
@click.option("--since", metavar="TIME", help="Only from then on: 2h ago, or a moment.")
@click.option("--until", metavar="TIME", help="Only before: 2h ago, or 2026-01-31T12:00.")
@click.option(
    "-n", "--tail", type=click.IntRange(0), default=TAIL_DEFAULT, show_default=True, metavar="N",
    help="The latest N.",
)  # fmt: skip
@click.option(
    "--show-function-call-id", is_flag=True, expose_value=False,
    help="Accepted: ids are always shown.",
)  # fmt: skip
@_of_all_variants
@show.json_option
@show.no_color_option
@environment_option
def calls(function: str, since: str | None, until: str | None, tail: int, as_json: bool) -> None:
    """List the calls of FUNCTION that are kept: those of `spawn` and of schedules."""
    found = ask("function_info", "function", function)
    begin = 0.0 if since is None else moment("--since", since)
    end = float("inf") if until is None else moment("--until", until)
    reply = hub.ask("call_list", app=found["app_id"], state=None, count=LIMIT_MAX)
    rows = [
        row
        for row in (reply["calls"] if reply else [])
        if row["function"].partition(".")[0] == found["name"] and begin <= row["created_at"] <= end
    ][:tail][::-1]
    if as_json:
        show.print_json(rows)
        return
    print_calls(rows, "no calls")


@click.command("variants", epilog="\b\nExample:\n  volant function variants report.square")
@click.argument("function")
@click.option("-n", "--limit", type=click.IntRange(1), metavar="N", help="Only the first N.")
@show.json_option
@environment_option
def variants(function: str, limit: int | None, as_json: bool) -> None:
    """List the pools of FUNCTION: its own, and those with other options or parameters."""
    found = ask("function_info", "function", function)
    reply = hub.ask("function_list")
    rows = [
        row
        for row in (reply["functions"] if reply else [])
        if (row["app_id"], row["name"]) == (found["app_id"], found["name"])
    ][:limit]
    if as_json:
        show.print_json(rows)
        return
    shown = [
        {**row, "containers": row["num_total_runners"], "running": row["num_running_inputs"]}
        for row in rows
    ]
    columns = ("function_id", "app", "name", "variant", "containers", "running", "backlog")
    show.print_table(shown, columns, "no pools")
