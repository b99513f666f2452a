"""`volant environment`: environments, in each of which names mean something else."""

from __future__ import annotations

import sys

import click

from volant import config
from volant.cli.commands.objects import every
from volant.cli.commands.root import Group
from volant.cli.failures import SERVICE, Refused
from volant.cli.shared import hub, show


@click.group(cls=Group, epilog="\b\nExample:\n  volant environment create staging")
def group() -> None:
    """Environments: in each, names of apps and objects mean something else. `main` always is."""


@group.command("list", epilog="\b\nExample:\n  volant environment list --json")
@show.json_option
def list_environments(as_json: bool) -> None:
    """List environments, the oldest first, with what is in them."""
    reply = hub.ask("environment_list")
    present = config.load().text("environment")
    rows = [
        {**row, "is_present": row["name"] == present}
        for row in (reply["environments"] if reply else [])
    ]
    if as_json:
        show.print_json(rows)
        return
    shown = [{
        "name": row["name"], "": "present" if row["is_present"] else "",
        "created": show.age(row["created_at"]) if row["created_at"] else None,
        "apps": row["apps"], "objects": row["objects"], "web_suffix": row["web_suffix"] or None,
    } for row in rows]  # fmt: skip
    columns = ("name", "", "created", "apps", "objects", "web_suffix")
    show.print_table(shown, columns, "no environments: the server is not running")


@group.command("create", epilog="\b\nExample:\n  volant environment create staging")
@click.argument("name")
def create(name: str) -> None:
    """Make an environment called NAME."""
    from volant.sdk.objects.environment import Environment

    Environment.objects.create(name)
    click.echo(f"created environment {name}")


@group.command("rename", epilog="\b\nExample:\n  volant environment rename staging preview")
@click.argument("old")
@click.argument("new")
def rename(old: str, new: str) -> None:
    """Call the environment OLD NEW; what is in it, and its addresses, stay."""
    _update(old, new, None)
    click.echo(f"renamed environment {old} to {new}")


@group.command(
    "update", epilog="\b\nExample:\n  volant environment update staging --set-web-suffix test"
)
@click.argument("name")
@click.option("--set-name", metavar="NAME", help="Call it so, as `rename` does.")
@click.option("--set-web-suffix", metavar="SUFFIX", help="What its addresses end with from now on.")
def update(name: str, set_name: str | None, set_web_suffix: str | None) -> None:
    """Change what the environment NAME is called, or where its web functions are reached."""
    if set_name is None and set_web_suffix is None:
        raise click.UsageError("nothing is to be changed: --set-name or --set-web-suffix")
    _update(name, set_name, set_web_suffix)
    click.echo(f"changed environment {name}")


def _update(name: str, new_name: str | None, web_suffix: str | None) -> None:
    from volant.sdk.objects.environment import update

    update(name, new_name=new_name, web_suffix=web_suffix).blocking()


@group.command("delete", epilog="\b\nExample:\n  volant environment delete staging --yes")
@click.argument("name")
@every.yes_option
def delete(name: str, yes: bool) -> None:
    """Delete the environment NAME: its apps are stopped, and its objects deleted, for good.

    Asks first, where there is a terminal; without one, only an empty one is deleted unless --yes.
    """
    from volant.sdk.naming import check_name

    check_name("an environment", name)
    is_asked = not yes and sys.stdin.isatty()
    every.confirm(f"delete environment `{name}` with all that is in it, for good?", yes=yes)
    told = hub.ask("environment_delete", name=name, force=yes or is_asked)
    if told is None:
        raise Refused(
            "the server is not running", hint="`volant server start` starts it", exit_code=SERVICE
        )
    click.echo(f"deleted environment {name}, {told['apps']} apps and {told['objects']} objects")
