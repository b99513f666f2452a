"""`volant secret`: secrets that are stored, and the key with which they are sealed.

No command shows a value. Values come from a prompt without echo, from files or standard input, and
from the command line, where others who list processes can see them for a moment.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from volant.cli.commands.objects import every
from volant.cli.commands.root import Group
from volant.cli.failures import SERVICE, Refused
from volant.cli.shared import hub, show

if TYPE_CHECKING:
    from volant.sdk.objects.secret import Secret

#: Characters of a file or of standard input that are read.
INPUT_CHARS_MAX = 16 << 20


@click.group(cls=Group, epilog="\b\nExample:\n  volant secret create database PGPASSWORD=-")
def group() -> None:
    """Secrets: variables that only functions and build steps get which name them."""


def _class() -> type[Secret]:
    from volant.sdk.objects.secret import Secret

    return Secret


every.add_commands(group, "secret", _class, creates=False)


@group.command("create", epilog="\b\nExamples:\n  volant secret create database PGPASSWORD=-\n"
               "  volant secret create web --from-dotenv .env --force")  # fmt: skip
@click.argument("name")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--from-dotenv", metavar="PATH", help="A file of lines KEY=VALUE.")
@click.option("--from-json", metavar="PATH", help="A file with an object of texts; - for stdin.")
@click.option("--force", is_flag=True, help="Put it in the place of one that is there.")
@every.environment_option
def create(
    name: str, pairs: tuple[str, ...], from_dotenv: str | None, from_json: str | None,
    force: bool, environment: str | None,
) -> None:  # fmt: skip
    """Store a secret called NAME.

    A VALUE of - is asked for without being shown, or read from standard input: others can see what
    stands on the command line, and shells remember it. Later ones win: files, then pairs.
    """
    from volant.sdk.objects.secret import put

    variables = {**_dotenv(from_dotenv), **_json(from_json), **_pairs(pairs)}
    if not variables:
        raise click.UsageError("a secret has variables: KEY=VALUE, --from-dotenv or --from-json")
    put(
        name, variables, allow_existing=False, replace=force, environment_name=environment
    ).blocking()
    click.echo(f"stored secret {name} of {', '.join(sorted(variables))}")


def _pairs(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{key[:100]!r} is not KEY=VALUE")
        found[key] = value
    asked = [key for key, value in found.items() if value == "-"]
    if sys.stdin.isatty():
        for key in asked:
            found[key] = click.prompt(key, hide_input=True, err=True)
    elif len(asked) > 1:
        raise click.UsageError("standard input can be the value of one key; use --from-json")
    elif asked:
        found[asked[0]] = sys.stdin.read(INPUT_CHARS_MAX).removesuffix("\n")
    return found


def _dotenv(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    from volant.sdk.objects.secret import read_dotenv

    try:
        return read_dotenv(path)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None


def _json(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        if path == "-":
            told = json.loads(sys.stdin.read(INPUT_CHARS_MAX))
        else:
            with open(path, encoding="utf-8") as file:
                told = json.loads(file.read(INPUT_CHARS_MAX))
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise Refused(f"{path} is no JSON") from None
    if not isinstance(told, dict) or not all(isinstance(one, str) for one in told.values()):
        raise Refused(f"{path} is no object of texts", hint='such as {"PGPASSWORD": "..."}')
    return told


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
