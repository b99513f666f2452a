"""Where a request goes: the address of what a user names, and whether a token is wanted there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from volant.cli.failures import SERVICE, Refused, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

_HERE = frozenset(("localhost", "127.0.0.1", "::1"))
#: Names that a message lists.
NAMED_MAX = 20


def is_address(target: str) -> bool:
    """Whether this is a URL, or the beginning of one, and not `app/function`."""
    return "://" in target or ":" in target.partition("/")[0]


def address_of(target: str, rows: Sequence[dict[str, Any]] | None) -> tuple[str, bool]:
    """The URL of what a user names, and whether it is asked with a token.

    Args:
        target: a URL, or `app/function` with whatever follows in the URL.
        rows: the web functions of this home; None when no daemon runs.

    Raises:
        Refused: when there is no such function.
    """
    if is_address(target):
        url = target if "://" in target else f"http://{target}"
        return url, any(row["requires_proxy_auth"] and _leads_to(url, row) for row in rows or ())
    if rows is None:
        raise Refused(
            "the server is not running", hint="`volant server start` starts it", exit_code=SERVICE
        )
    path, mark, query = target.partition("?")
    app, _, rest = path.partition("/")
    name, _, rest = rest.partition("/")
    row = _named(app, name, rows)
    return f"{row['url']}{rest}{mark}{query}", row["requires_proxy_auth"]


def _leads_to(url: str, row: dict[str, Any]) -> bool:
    """Whether a URL is a function's at the gateway of this home.

    Not by a domain of its own: what such a name leads to is not known here.
    """
    asked, own = urlsplit(url), urlsplit(row["url"])
    if (asked.scheme, asked.port) != (own.scheme, own.port):
        return False
    host, label = asked.hostname or "", row["label"]
    if host == f"{label}.localhost":
        return True
    return host in _HERE | {own.hostname} and asked.path[1:].partition("/")[0] == label


def _named(app: str, name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The function of an app; of a deployed one rather than one that runs, and the newest."""
    of_app = [row for row in rows if app in (row["app"], row["app_id"])]
    # A class is enough where only one of its methods answers.
    found = [row for row in of_app if row["name"] == name] or [
        row for row in of_app if row["name"].partition(".")[0] == name
    ]
    if len({row["name"] for row in found}) > 1:
        names = ", ".join(f"`{app}/{row['name']}`" for row in found[:NAMED_MAX])
        raise Refused(f"several methods of `{app}/{name}` answer to the web", hint=f"it is {names}")
    if found:
        return max(reversed(found), key=lambda row: bool(row["deployed"]))
    if of_app:
        names = ", ".join(f"`{app}/{row['name']}`" for row in of_app[:NAMED_MAX])
        wanted = f"`{app}/{name}`" if name else f"`{app}`"
        raise Refused(f"{wanted} is no web function", hint=f"there is {names}")
    known = sorted({row["app"] for row in rows})
    hint = did_you_mean(app, known) or (
        f"there is {', '.join(known[:NAMED_MAX])}" if known else "none answers to the web"
    )
    raise Refused(f"no app `{app}` with web functions runs or is deployed", hint=hint)
