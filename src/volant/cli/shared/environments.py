"""`-e/--env`: the environment that a command is about, instead of the one that is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from volant import config
from volant.cli.failures import Refused
from volant.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable


def choose(name: str) -> None:
    """Have this command be about an environment.

    Raises:
        Refused: for what cannot be the name of one.
    """
    try:
        config.choose_environment(name)
    except InvalidError as error:
        raise Refused(error.message, hint=error.hint or "") from None


def _chosen(_context: click.Context, _parameter: click.Parameter, name: str | None) -> None:
    if name is not None:
        choose(name)


#: Of every command about apps and what is in them.
environment_option: Callable[[Any], Any] = click.option(
    "-e", "--env", metavar="NAME", callback=_chosen, expose_value=False,
    help="The environment that is meant, instead of the setting `environment`.",
)  # fmt: skip
