"""`volant config`: the settings in force, and where each comes from."""

from __future__ import annotations

import click

from volant import config
from volant.cli.commands.root import Group
from volant.cli.shared import show


@click.group(cls=Group, epilog="\b\nExample:\n  volant config show")
def group() -> None:
    """Settings: environment variables over the file config.toml over defaults."""


@group.command("show", epilog="\b\nExample:\n  volant config show --json")
@show.json_option
def show_config(as_json: bool) -> None:
    """Show every setting with its value and its origin."""
    settings = config.load()
    rows = [
        {
            "setting": name,
            "value": settings.shown(name),
            "origin": settings.origins[name],
            "meaning": meaning,
        }
        for name, (_, _, meaning) in config.SETTINGS.items()
    ]
    if as_json:
        show.print_json({
            row.pop("setting"): {key: row[key] for key in ("value", "origin")} for row in rows
        })  # fmt: skip
        return
    show.print_table(rows, ("setting", "value", "origin", "meaning"), "no settings")
