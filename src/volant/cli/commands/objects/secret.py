"""`volant secret`: secrets that are stored, and the key with which they are sealed."""

from __future__ import annotations

import click

from volant.cli.commands.root import Group
from volant.cli.failures import SERVICE, Refused
from volant.cli.shared import hub, show


@click.group(cls=Group, epilog="\b\nExample:\n  volant secret rotate-key")
def group() -> None:
    """Secrets, and the key with which they and descriptions of apps are kept."""


@group.command("rotate-key", epilog="\b\nExample:\n  volant secret rotate-key --json")
@show.json_option
def rotate_key(as_json: bool) -> None:
    """Seal everything with a new key, and forget the one before.

    Functions go on meanwhile. Backups hold the key of their time; those made without it need it.
    """
    reply = hub.ask("secret_rotate_key")
    if reply is None:
        raise Refused(
            "the server is not running", hint="`volant server start` starts it", exit_code=SERVICE
        )
    told = {name: reply[name] for name in ("key_id", "count", "broken")}
    if as_json:
        show.print_json(told)
        return
    click.echo(f"sealed {told['count']} values with the new key {told['key_id']}")
    if told["broken"]:
        click.echo(f"{told['broken']} values cannot be opened, and stay as they are", err=True)
