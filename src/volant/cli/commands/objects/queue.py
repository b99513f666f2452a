"""`volant queue`: durable queues, and what waits in them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from volant.cli.commands.objects import every
from volant.cli.commands.root import Group
from volant.cli.shared import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.sdk.objects.queues import Queue

partition_option: Callable[[Any], Any] = click.option(
    "-p", "--partition", default=None, metavar="NAME", help="A partition; by default the unnamed."
)


@click.group(cls=Group, epilog="\b\nExample:\n  volant queue peek work 5")
def group() -> None:
    """Queues: durable, first in, first out, shared by programs and containers."""


def _class() -> type[Queue]:
    from volant.sdk.objects.queues import Queue

    return Queue


every.add_commands(group, "queue", _class)


def _find(name: str, environment: str | None) -> Queue:
    every.need_server()
    return _class().from_name(name, environment_name=environment)


@group.command("len", epilog="\b\nExample:\n  volant queue len work --total")
@click.argument("name")
@partition_option
@click.option("-t", "--total", is_flag=True, help="Count all partitions together.")
@every.environment_option
@show.json_option
def length(
    name: str, partition: str | None, total: bool, environment: str | None, as_json: bool
) -> None:
    """Show how many values are in the queue NAME."""
    count = _find(name, environment).len(partition=partition, total=total)
    if as_json:
        show.print_json({"count": count})
    else:
        click.echo(count)


@group.command("peek", epilog="\b\nExample:\n  volant queue peek work 5")
@click.argument("name")
@click.argument("count", type=click.IntRange(min=0), default=1)
@partition_option
@every.environment_option
@show.json_option
def peek(
    name: str, count: int, partition: str | None, environment: str | None, as_json: bool
) -> None:
    """Show the first COUNT values of the queue NAME, which stay in it; 1 by default."""
    values = list(islice(_find(name, environment).iterate(partition=partition), count))
    if as_json:
        show.print_json([every.plain(value) for value in values])
        return
    for value in values:
        click.echo(value)


@group.command("clear", epilog="\b\nExample:\n  volant queue clear work --all --yes")
@click.argument("name")
@partition_option
@click.option("-a", "--all", "is_all", is_flag=True, help="Empty all partitions.")
@every.yes_option
@every.environment_option
def clear(
    name: str, partition: str | None, is_all: bool, yes: bool, environment: str | None
) -> None:
    """Empty the queue NAME, or one partition. Asks first, where there is a terminal."""
    what = f"partition `{partition}` of queue `{name}`" if partition else f"queue `{name}`"
    every.confirm(f"empty {what}?", yes=yes)
    _find(name, environment).clear(partition=partition, all=is_all)
    click.echo(f"cleared {what.replace('`', '')}")
