"""`volant setup`: nothing has to be set up."""

from __future__ import annotations

import click

from volant import config


@click.command("setup", epilog="\b\nExample:\n  volant setup")
@click.option("--profile", help="Accepted, and of no use here.")
def group(profile: str | None) -> None:
    """Say what this machine is set up as: no account is needed."""
    click.echo(f"no account is needed: apps run on this machine, of {config.load().home}", err=True)
