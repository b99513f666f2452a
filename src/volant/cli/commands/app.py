"""`volant app`: the apps of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from volant.cli.commands import hub, show
from volant.cli.commands.logs import log_options, print_logs
from volant.cli.commands.root import Group
from volant.cli.failures import Refused

if TYPE_CHECKING:
    from volant.channel.channel import Channel


@click.group(cls=Group, epilog="\b\nExample:\n  volant app list")
def group() -> None:
    """Apps that run on this machine, and those that ended lately."""


@group.command("list", epilog="\b\nExample:\n  volant app list --json")
@show.json_option
def list_apps(as_json: bool) -> None:
    """List apps, the newest last."""
    reply = hub.ask("app_list")
    apps = sorted(reply["apps"] if reply else [], key=lambda app: float(app["created_at"]))
    if as_json:
        show.print_json(apps)
        return
    rows = [{**app, "created": show.age(app["created_at"])} for app in apps]
    columns = ("app_id", "name", "state", "created", "containers", "calls", "functions", "tags")
    show.print_table(rows, columns, "no apps" if reply else "no apps: the server is not running")


@group.command("stop", epilog="\b\nExample:\n  volant app stop hello")
@click.argument("app")
def stop_app(app: str) -> None:
    """Stop APP, an id or a name, with all its containers."""
    reply = hub.ask("app_stop", app=app)
    if reply is None:
        raise Refused(f"there is no app `{app}`: the server is not running")
    click.echo(f"stopped {reply['app_id']}")


@group.command("logs", epilog="\b\nExample:\n  volant app logs hello --tail 20 --follow")
@click.argument("app")
@log_options
def app_logs(app: str, tail: int, follow: bool, as_json: bool) -> None:
    """Show what the containers of APP, an id or a name, printed."""
    print_logs("app", app, tail=tail, follow=follow, as_json=as_json, goes_on=_runs)


def _runs(channel: Channel, app_id: str) -> bool:
    apps = channel.request("app_list")["apps"]
    return any(app["app_id"] == app_id and app["state"] != "stopped" for app in apps)
