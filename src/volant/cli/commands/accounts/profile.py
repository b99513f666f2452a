"""`volant profile`: accounts by name, of which a home has one."""

from __future__ import annotations

import getpass

import click

from volant.cli.commands.root import Group
from volant.cli.failures import Refused
from volant.cli.shared import show

#: The only one.
NAME = "default"


@click.group(cls=Group, epilog="\b\nExample:\n  volant profile current")
def group() -> None:
    """Accounts: there is one, which is whoever owns the home."""


@group.command("list", epilog="\b\nExample:\n  volant profile list --json")
@show.json_option
def list_profiles(as_json: bool) -> None:
    """List accounts."""
    rows = [{"name": NAME, "workspace": getpass.getuser(), "active": True}]
    if as_json:
        show.print_json(rows)
        return
    show.print_table(rows, ("name", "workspace", "active"), "")


@group.command("current", epilog="\b\nExample:\n  volant profile current")
def current() -> None:
    """Say which account is meant."""
    click.echo(NAME)


@group.command("activate", epilog="\b\nExample:\n  volant profile activate default")
@click.argument("name")
def activate(name: str) -> None:
    """Have the account NAME meant, which has to be the one that there is."""
    if name != NAME:
        raise Refused(
            f"there is no profile `{name}`",
            hint=f"there is `{NAME}` alone; environments keep names apart: `volant environment`",
        )
