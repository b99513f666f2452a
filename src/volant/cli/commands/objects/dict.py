"""`volant dict`: durable mappings, and what is in them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from volant.cli.commands.objects import every
from volant.cli.commands.root import Group
from volant.cli.failures import Refused
from volant.cli.shared import show

if TYPE_CHECKING:
    from volant.sdk.objects.dicts import Dict

#: Entries shown when nobody says how many.
ITEMS_DEFAULT = 20


@click.group(cls=Group, epilog="\b\nExample:\n  volant dict items index 5")
def group() -> None:
    """Dicts: durable mappings that programs and containers share."""


def _class() -> type[Dict]:
    from volant.sdk.objects.dicts import Dict

    return Dict


every.add_commands(group, "dict", _class)


def _find(name: str, environment: str | None) -> Dict:
    every.need_server()
    return _class().from_name(name, environment_name=environment)


@group.command("get", epilog="\b\nExample:\n  volant dict get index page-1")
@click.argument("name")
@click.argument("key")
@every.environment_option
@show.json_option
def get(name: str, key: str, environment: str | None, as_json: bool) -> None:
    """Show the value of KEY, a string, in the dict NAME."""
    missing = object()
    value = _find(name, environment).get(key, missing)
    if value is missing:
        raise Refused(
            f"dict `{name}` has no key {key!r}", hint="keys are strings here; `items` shows all"
        )
    if as_json:
        show.print_json(every.plain(value))
    else:
        click.echo(value)


@group.command("items", epilog="\b\nExamples:\n  volant dict items index 5\n"
               "  volant dict items index --all --json")  # fmt: skip
@click.argument("name")
@click.argument("count", type=click.IntRange(min=0), default=ITEMS_DEFAULT)
@click.option("-a", "--all", "is_all", is_flag=True, help="Show all, whatever COUNT says.")
@click.option("-r", "--repr", "as_repr", is_flag=True, help="Show values as Python writes them.")
@every.environment_option
@show.json_option
def items(
    name: str, count: int, is_all: bool, as_repr: bool, environment: str | None, as_json: bool
) -> None:
    """Show COUNT entries of the dict NAME, in no order; 20 by default."""
    found = _find(name, environment).items()
    pairs = list(found if is_all else islice(found, count))
    if as_json:
        show.print_json([
            {"key": every.plain(key), "value": every.plain(value)} for key, value in pairs
        ])  # fmt: skip
        return
    shown = repr if as_repr else str
    rows: list[dict[str, Any]] = [
        {"key": shown(key), "value": shown(value)} for key, value in pairs
    ]  # fmt: skip
    show.print_table(rows, ("key", "value"), f"dict `{name}` is empty")


@group.command("clear", epilog="\b\nExample:\n  volant dict clear index --yes")
@click.argument("name")
@every.yes_option
@every.environment_option
def clear(name: str, yes: bool, environment: str | None) -> None:
    """Take everything out of the dict NAME. Asks first, where there is a terminal."""
    every.confirm(f"take everything out of dict `{name}`?", yes=yes)
    _find(name, environment).clear()
    click.echo(f"cleared dict {name}")
