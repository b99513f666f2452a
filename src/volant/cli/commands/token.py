"""`volant token`: who may call web functions that require a token."""

from __future__ import annotations

from typing import Any

import click

from volant.cli.commands.root import Group
from volant.cli.failures import SERVICE, Refused
from volant.cli.shared import hub, show


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


def _ask(op: str, **fields: object) -> dict[str, Any]:
    reply = hub.ask(op, **fields)
    if reply is None:
        raise Refused(
            "the server is not running", hint="`volant server start` starts it", exit_code=SERVICE
        )
    return reply
