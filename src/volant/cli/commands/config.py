"""`volant config`: the settings in force, and where each comes from."""

from __future__ import annotations

import os
import re

import click

from volant import config
from volant.cli.commands.root import Group
from volant.cli.failures import Refused
from volant.cli.shared import show
from volant.errors import InvalidError

#: The setting `environment` in the file, at the top of which settings are.
_ENVIRONMENT = re.compile(r"^environment\s*=.*$", re.MULTILINE)


@click.group(cls=Group, epilog="\b\nExample:\n  volant config show")
def group() -> None:
    """Settings: environment variables over the file config.toml over defaults."""


@group.command("show", epilog="\b\nExample:\n  volant config show --json")
@click.option(
    "--redact/--no-redact", default=True, help="Passwords are left out in either case.",
)  # fmt: skip
@show.json_option
def show_config(as_json: bool, redact: bool) -> None:
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


@group.command("set-environment", epilog="\b\nExample:\n  volant config set-environment staging")
@click.argument("name")
def set_environment(name: str) -> None:
    """Have the environment NAME meant from now on, where neither a command nor a variable says."""
    home = config.load().home
    path = os.path.join(home, "config.toml")
    try:
        config.load({"VOLANT_HOME": home, "VOLANT_ENVIRONMENT": name})
    except InvalidError as error:
        raise Refused(error.message, hint=error.hint or "") from None
    os.makedirs(home, mode=0o700, exist_ok=True)
    text = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
    line = f'environment = "{name}"'
    changed, count = _ENVIRONMENT.subn(line, text, count=1)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(changed if count else f"{line}\n{text}")
    os.replace(f"{path}.new", path)
    click.echo(f"the environment is {name}, as {path} says")
