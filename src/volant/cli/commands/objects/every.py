"""Commands that all kinds of named objects have: create, list, delete; and what they share."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from volant.cli.failures import SERVICE, Refused
from volant.cli.shared import hub, show

if TYPE_CHECKING:
    from collections.abc import Callable

#: `-e/--env` of every command about something that has a name in an environment.
environment_option: Callable[[Any], Any] = click.option(
    "-e", "--env", "environment", default=None, metavar="NAME", help="The environment it is in."
)
#: `-y/--yes` of commands that take something away for good.
yes_option: Callable[[Any], Any] = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def add_commands(
    group: click.Group, noun: str, find: Callable[[], Any], *, creates: bool = True
) -> None:
    """Add `create`, `list` and `delete` to a group.

    Args:
        noun: as users call one, such as `dict`.
        find: gives the class of the SDK, imported on use.
        creates: whether `create` is among them.
    """
    if creates:
        _add_create(group, noun, find)

    @group.command("list", epilog=f"\b\nExample:\n  volant {noun} list --json")
    @environment_option
    @show.json_option
    def list_objects(environment: str | None, as_json: bool) -> None:
        fields = {"kind": noun, "environment": environment, "max": None, "created_before": None}
        reply = hub.ask("object_list", **fields)
        rows = reply["objects"] if reply else []
        if as_json:
            show.print_json(rows)
            return
        rows = [{**row, "created": show.age(row["created_at"])} for row in rows]
        empty = f"no {noun}s" if reply else f"no {noun}s: the server is not running"
        show.print_table(rows, ("name", "created", "created_by", "object_id"), empty)

    list_objects.help = f"List {noun}s, the newest first."

    @group.command("delete", epilog=f"\b\nExample:\n  volant {noun} delete NAME --yes")
    @click.argument("name")
    @click.option("--allow-missing", is_flag=True, help="Be content when there is none.")
    @yes_option
    @environment_option
    def delete(name: str, allow_missing: bool, yes: bool, environment: str | None) -> None:
        confirm(f"delete {noun} `{name}` with all that is in it, for good?", yes=yes)
        find().objects.delete(name, allow_missing=allow_missing, environment_name=environment)
        click.echo(f"deleted {noun} {name}")

    delete.help = (
        f"Delete the {noun} NAME and what is in it. Asks first, where there is a terminal."
    )


def _add_create(group: click.Group, noun: str, find: Callable[[], Any]) -> None:
    @group.command("create", epilog=f"\b\nExample:\n  volant {noun} create NAME")
    @click.argument("name")
    @environment_option
    def create(name: str, environment: str | None) -> None:
        find().objects.create(name, environment_name=environment)
        click.echo(f"created {noun} {name}")

    create.help = f"Make a {noun} called NAME."


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is taken away, where there is a terminal to ask on."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True)


def need_server() -> None:
    """Refuse to go on when no daemon runs: looking must not start one.

    Raises:
        Refused: then.
    """
    channel = hub.open_channel()
    if channel is None:
        raise Refused(
            "the server is not running", hint="`volant server start` starts it", exit_code=SERVICE
        )
    channel.close()


def plain(value: object) -> object:
    """A value as JSON can have it: anything that it has no form for as its `repr`."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(one) for key, one in value.items()}
    return repr(value)
