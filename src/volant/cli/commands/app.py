"""`volant app`: the apps of this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from volant.cli.commands.deploy import strategy_option
from volant.cli.commands.root import Group
from volant.cli.failures import Refused
from volant.cli.shared import hub, show
from volant.cli.shared.environments import environment_option
from volant.cli.shared.filtering import Filter, log_filters
from volant.cli.shared.logs import log_options, print_logs

if TYPE_CHECKING:
    from volant.channel.channel import Channel


@click.group(cls=Group, epilog="\b\nExample:\n  volant app list")
def group() -> None:
    """Apps that are deployed or run on this machine, and those that ended lately."""


@group.command("list", epilog="\b\nExample:\n  volant app list --json")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the newest N.")
@show.json_option
@environment_option
def list_apps(as_json: bool, limit: int | None) -> None:
    """List apps, the newest last."""
    reply = hub.ask("app_list")
    apps = sorted(reply["apps"] if reply else [], key=lambda app: float(app["created_at"]))
    apps = apps[-limit:] if limit else apps
    if as_json:
        show.print_json(apps)
        return
    rows = [
        {**app, "created": show.age(app["created_at"]), "version": app["version"] or None}
        for app in apps
    ]
    columns = (
        "app_id", "name", "state", "version", "created", "containers", "calls", "functions", "tags",
    )  # fmt: skip
    show.print_table(rows, columns, "no apps" if reply else "no apps: the server is not running")


@group.command("info", epilog="\b\nExample:\n  volant app info shop --json")
@click.argument("app")
@show.no_color_option
@show.json_option
@environment_option
def app_info(app: str, as_json: bool) -> None:
    """Show what is deployed as APP, a name or an id."""
    reply = _ask("app_lookup", app)
    facts = {name: value for name, value in reply.items() if name != "id"}
    if as_json:
        show.print_json(facts)
        return
    for name in ("app_id", "name", "version", "tag", "deployed_by"):
        click.echo(f"{name:<12} {facts[name] or '-'}")
    click.echo(f"{'deployed':<12} {show.age(facts['deployed_at'])}")
    for name, function_id in facts["functions"].items():
        click.echo(f"{'function':<12} {name}  {function_id}")
    for name, method, url in facts["urls"]:
        click.echo(f"{'url':<12} {f'{name}.{method}' if method else name}  {url}")


@group.command("history", epilog="\b\nExample:\n  volant app history shop")
@click.argument("app")
@show.json_option
@environment_option
def app_history(app: str, as_json: bool) -> None:
    """Show the versions of APP, a name or an id, the latest first."""
    versions = _ask("app_history", app)["versions"]
    if as_json:
        show.print_json(versions)
        return
    rows = [{
        "version": one["version"], "": "served" if one["served"] else "", "tag": one["tag"],
        "deployed": show.age(one["deployed_at"]), "by": one["deployed_by"],
        "action": f"{one['action']} of {one['of_version']}" if one["of_version"] else one["action"],
        "commit": _commit(one), "strategy": one["strategy"],
    } for one in versions]  # fmt: skip
    show.print_table(rows, tuple(rows[0]), "no versions")


def _commit(version: dict[str, Any]) -> str:
    """A commit as people know it: `1a2b3c4d on main, with changes`."""
    if not version["commit_id"]:
        return ""
    branch = f" on {version['branch']}" if version["branch"] else ""
    return str(version["commit_id"])[:8] + branch + (", with changes" if version["dirty"] else "")


@group.command("rollback", epilog="\b\nExamples:\n  volant app rollback shop\n"
               "  volant app rollback shop v3")  # fmt: skip
@click.argument("app")
@click.argument("version", required=False)
@strategy_option
@show.json_option
@environment_option
def rollback(app: str, version: str | None, strategy: str, as_json: bool) -> None:
    """Serve VERSION of APP again, as a new version; the one before the present by default."""
    number = None if version is None else _version(version)
    _roll(app, "rollback", number, strategy, as_json=as_json)


def _version(text: str) -> int:
    digits = text.removeprefix("v")
    if not digits.isdecimal() or not int(digits):
        raise Refused(f"`{text}` is no version", hint="versions count from 1: `3` or `v3`")
    return int(digits)


@group.command("rollover", epilog="\b\nExample:\n  volant app rollover shop")
@click.argument("app")
@strategy_option
@show.json_option
@environment_option
def rollover(app: str, strategy: str, as_json: bool) -> None:
    """Serve APP as it is with fresh containers, as a new version."""
    _roll(app, "rollover", None, strategy, as_json=as_json)


def _roll(app: str, action: str, version: int | None, strategy: str, *, as_json: bool) -> None:
    from volant.sdk.deploying.facts import deployer

    reply = _ask("app_roll", app, action=action, version=version, strategy=strategy,
                 deployed_by=deployer())  # fmt: skip
    if as_json:
        show.print_json({name: value for name, value in reply.items() if name != "id"})
        return
    click.echo(f"{reply['name']} is at version {reply['version']}")


def _ask(op: str, app: str, **fields: object) -> dict[str, Any]:
    """Ask about an app.

    Raises:
        Refused: when no daemon runs, so that there is none.
    """
    reply = hub.ask(op, app=app, **fields)
    if reply is None:
        raise Refused(
            f"there is no app `{app}`: the server is not running",
            hint="`volant server start` serves what is deployed",
        )
    return reply


@group.command("stop", epilog="\b\nExample:\n  volant app stop hello")
@click.argument("app")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@environment_option
def stop_app(app: str, yes: bool) -> None:
    """Stop APP, an id or a name, with all its containers; a deployed one for good.

    Asks first whether a deployed app is meant, where there is a terminal to ask on.
    """
    if not yes and sys.stdin.isatty() and _is_deployed(app):
        click.confirm(f"stop deployed app `{app}`, for good?", abort=True)
    click.echo(f"stopped {_ask('app_stop', app)['app_id']}")


def _is_deployed(wanted: str) -> bool:
    apps = (hub.ask("app_list") or {"apps": []})["apps"]
    return any(
        app["state"] == "deployed" and wanted in (app["name"], app["app_id"]) for app in apps
    )


@group.command("logs", epilog="\b\nExample:\n  volant app logs hello --tail 20 --follow")
@click.argument("app")
@log_options
@log_filters
@environment_option
def app_logs(app: str, tail: int, follow: bool, as_json: bool, **wanted: Any) -> None:
    """Show what the containers of APP, an id or a name, printed."""
    print_logs(
        "app", app, tail=tail, follow=follow, as_json=as_json, goes_on=_runs, only=Filter(**wanted)
    )


def follow_logs(app_id: str, *, timestamps: bool = False) -> None:
    """Show what an app prints from now on, until Ctrl-C."""
    only = Filter(timestamps=timestamps)
    print_logs("app", app_id, tail=0, follow=True, as_json=False, goes_on=_runs, only=only)


def _runs(channel: Channel, app_id: str) -> bool:
    apps = channel.request("app_list")["apps"]
    return any(app["app_id"] == app_id and app["state"] != "stopped" for app in apps)
