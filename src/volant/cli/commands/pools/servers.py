"""`volant server info`, `stats`, `logs SERVER` and `autoscaler`: about classes of `@app.server()`.

Beside the commands about the daemon, which is called a server as well: these name one.
"""

from __future__ import annotations

from typing import Any

import click

from volant.cli.commands.pools.asked import ask, count_option, show_record
from volant.cli.commands.root import Group
from volant.cli.failures import Refused
from volant.cli.shared import show
from volant.cli.shared.environments import environment_option
from volant.errors import InvalidError
from volant.sdk.options import checked_autoscaler
from volant.sdk.web.counted import ServerStats
from volant.sdk.web.info import ServerInfo
from volant.sdk.web.scaling import ServerAutoscalerSettings
from volant.sdk.web.servers import checked_scaleup_s, checked_target


@click.command("info", epilog="\b\nExample:\n  volant server info shop.Pages --json")
@click.argument("server")
@show.json_option
@environment_option
def info(server: str, as_json: bool) -> None:
    """Show what SERVER, a class of `@app.server()`, was described with, and its address."""
    reply = ask("function_info", "server", server)
    if not any(one["web"] and one["web"]["kind"] == "stateless" for one in reply["methods"]):
        raise Refused(f"`{server}` is no server", hint=f"`volant function info {server}`")
    show_record(ServerInfo(reply), as_json=as_json)


@click.command("stats", epilog="\b\nExample:\n  volant server stats shop.Pages")
@click.argument("server")
@show.json_option
@show.no_color_option
@environment_option
def stats(server: str, as_json: bool) -> None:
    """Show how the requests of SERVER went since it, or the gateway, has started."""
    show_record(ServerStats(ask("web_counts", "server", server)), as_json=as_json)


@click.group(
    "autoscaler", cls=Group, epilog="\b\nExample:\n  volant server autoscaler settings x.Y"
)
def autoscaler() -> None:
    """The settings by which containers of a server are started and stopped."""


@autoscaler.command("settings", epilog="\b\nExample:\n  volant server autoscaler settings x.Y")
@click.argument("server")
@show.json_option
@environment_option
def settings(server: str, as_json: bool) -> None:
    """Show the settings of SERVER's autoscaler."""
    reply = ask("function_settings", "server", server)
    show_record(ServerAutoscalerSettings(reply), as_json=as_json)


@autoscaler.command(
    "update", epilog="\b\nExample:\n  volant server autoscaler update x.Y --min-containers 2"
)
@click.argument("server")
@count_option("--min-containers", "Containers that are kept ready.")
@count_option("--max-containers", "Containers that it has at most.")
@count_option("--buffer-containers", "Containers kept ready above the need, while there is any.")
@click.option(
    "--scaledown-window", type=float, metavar="SECONDS", help="How long an idle one is kept."
)
@click.option(
    "--scaleup-window", type=float, metavar="SECONDS",
    help="How long more have to be needed until one is started.",
)  # fmt: skip
@click.option(
    "--target-concurrency", type=float, metavar="COUNT", help="Requests of one that are aimed at."
)
@show.json_option
@environment_option
def update(server: str, as_json: bool, **given: Any) -> None:
    """Change the autoscaler of SERVER while its app runs, and show all its settings.

    What is not given stays as it is.
    """
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise Refused("there is nothing to change", hint="`volant server autoscaler update --help`")
    own: dict[str, object] = {}
    try:
        if "scaleup_window" in changes:
            own["scaleup_window_s"] = checked_scaleup_s(changes.pop("scaleup_window"))
        if "target_concurrency" in changes:
            own["target_inputs"] = checked_target(changes.pop("target_concurrency"))
        fields = {**checked_autoscaler(changes), **own}
    except InvalidError as error:
        raise Refused(str(error)) from None
    reply = ask("function_update", "server", server, **fields)
    show_record(ServerAutoscalerSettings(reply), as_json=as_json)
