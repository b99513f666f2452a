"""`volant token`: who may call web functions that require a token."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import click

from volant import config
from volant.cli.commands.root import Group
from volant.cli.failures import SERVICE, Refused
from volant.cli.shared import hub, show

if TYPE_CHECKING:
    from collections.abc import Callable


@click.group(cls=Group, epilog="\b\nExample:\n  volant token create ci")
def group() -> None:
    """Tokens for web functions that are made with `requires_proxy_auth=True`."""


@group.command("create", epilog="\b\nExample:\n  volant token create ci --json")
@click.argument("name", default="")
@show.json_option
def create(name: str, as_json: bool) -> None:
    """Make a token, called NAME; its secret is shown once and kept as a hash."""
    made = _ask("token_create", name=name)
    made = {"key": made["key"], "secret": made["secret"]}
    if as_json:
        show.print_json(made)
        return
    show.print_fields(made)
    click.echo("send both as the headers `Volant-Key` and `Volant-Secret`, or as one:", err=True)
    click.echo(f"  curl -H 'Authorization: Bearer {made['key']}.<secret>' ...", err=True)


@group.command("list", epilog="\b\nExample:\n  volant token list --json")
@show.json_option
def list_tokens(as_json: bool) -> None:
    """List tokens, the newest last."""
    reply = hub.ask("token_list")
    rows = reply["tokens"] if reply else []
    if as_json:
        show.print_json(rows)
        return
    rows = [{**row, "created": show.age(row["created_at"])} for row in rows]
    empty = "no tokens" if reply else "no tokens: the server is not running"
    show.print_table(rows, ("key", "name", "created"), empty)


@group.command("revoke", epilog="\b\nExample:\n  volant token revoke wk-1f5a2c9e0b7d4e6f8a3c5b1d")
@click.argument("key")
def revoke(key: str) -> None:
    """Forget the token KEY; requests with it are refused from now on."""
    _ask("token_revoke", key=key)
    click.echo(f"revoked {key}")


_ACCOUNT_OPTIONS = ("--token-id", "--token-secret", "--profile", "--source", "--expires-in")
_ACCOUNT_SWITCHES = (
    "--activate/--no-activate", "--verify/--no-verify", "--delete-existing/--keep-existing",
)  # fmt: skip


def _account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is given when accounts are set up elsewhere; nothing of it is kept."""
    for name in _ACCOUNT_OPTIONS:
        command = click.option(name, help="Accepted, and of no use here.")(command)
    for name in _ACCOUNT_SWITCHES:
        command = click.option(name, default=None, help="Accepted, and of no use here.")(command)
    return command


@group.command("new", epilog="\b\nExample:\n  volant token new")
@_account_options
def new(**given: object) -> None:
    """Say that no token of an account is needed."""
    _need_no_account()


@group.command("set", epilog="\b\nExample:\n  volant token set --token-id x --token-secret y")
@_account_options
def set_token(**given: object) -> None:
    """Take the token of an account and forget it: none is needed."""
    _need_no_account()


@group.command("info", epilog="\b\nExample:\n  volant token info")
def info() -> None:
    """Say whose the daemon is that commands speak to."""
    show.print_fields({"user": getpass.getuser(), "home": config.load().home})


def _need_no_account() -> None:
    click.echo("no account is needed: nothing was kept", err=True)


def _ask(op: str, **fields: object) -> dict[str, Any]:
    reply = hub.ask(op, **fields)
    if reply is None:
        raise Refused(
            "the server is not running", hint="`volant server start` starts it", exit_code=SERVICE
        )
    return reply
