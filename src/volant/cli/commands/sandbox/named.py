"""Which sandbox is meant by a word: an id, or the name of one that has not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from volant.cli.failures import Refused, did_you_mean
from volant.cli.shared import hub

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "sb-"


def asked(op: str, word: str, **fields: object) -> dict[str, Any]:
    """What the daemon answers to a request about the sandbox that `word` means.

    Raises:
        Refused: when no daemon runs, and so no sandbox.
    """
    reply = hub.ask(op, **fields)
    if reply is None:
        raise Refused(f"there is no sandbox `{word}`: the server is not running")
    return reply


def resolved(word: str, *, with_finished: bool = False) -> str:
    """The id of the sandbox that is meant; an id is taken as it is, whether there is one or not.

    Raises:
        Refused: when no sandbox has this name, or several have.
    """
    if word.startswith(PREFIX):
        return word
    reply = asked("sandbox_list", word, app_id=None, tags={}, with_finished=with_finished)
    # A sidecar's name is known in its sandbox alone.
    rows = [row for row in reply["sandboxes"] if row["name"] and not row["sidecar_of"]]
    found = [row["sandbox_id"] for row in rows if row["name"] == word]
    if len(found) > 1 and not with_finished:
        raise Refused(
            f"{len(found)} sandboxes are called `{word}`", hint=f"name one by its id: {found}"
        )
    if not found:
        near = did_you_mean(word, [row["name"] for row in rows])
        hint = near or "`volant sandbox list` shows all"
        raise Refused(f"there is no sandbox `{word}`", hint=hint)
    return str(found[-1])


def _callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    return tuple(map(resolved, value)) if isinstance(value, tuple) else resolved(value)


def _of_any(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    return resolved(value, with_finished=True)


#: An argument `sandbox`: the id, of a sandbox that is given by id or name.
sandbox_argument: Callable[[Any], Any] = click.argument("sandbox", callback=_callback)
#: The same of one that may have finished: of several that had the name, the last one.
any_sandbox_argument: Callable[[Any], Any] = click.argument("sandbox", callback=_of_any)
#: An argument `sandboxes`: one or more.
sandboxes_argument: Callable[[Any], Any] = click.argument(
    "sandboxes", metavar="SANDBOX...", nargs=-1, required=True, callback=_callback
)
