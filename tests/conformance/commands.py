"""How far each command of the package `modal` is there: ours are asked for it and its options.

`commands.json` holds those of the versions 1.4 to 1.6, as `compat/modal/record_commands.py` has
read them. `modal` is `volant`, so it is that which is asked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import click

from tests.support import ROOT
from volant.cli.commands.root import root
from volant.cli.run import SWITCHES, VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator


class CommandState(NamedTuple):
    command: str
    versions: list[str]
    #: "implemented", "partial" or "missing"
    state: str
    #: options that it does not take
    lacks: list[str]


def command_states() -> Iterator[CommandState]:
    """Every recorded command."""
    record = json.loads((ROOT / "tests/conformance/commands.json").read_text())
    for command, facts in record.items():
        known = _options(command)
        if known is None:
            yield CommandState(command, facts["versions"], "missing", [])
            continue
        lacks = [name for name in facts["options"] if name not in known]
        state = "partial" if lacks else "implemented"
        yield CommandState(command, facts["versions"], state, lacks)


def _options(path: str) -> set[str] | None:
    """The options of a command of ours; None when there is none."""
    if path == "run":  # it has a parser of its own
        return {*SWITCHES, *VALUES}
    command: click.Command | None = root
    for word in path.split():
        if not isinstance(command, click.Group):
            return None
        command = command.get_command(click.Context(command), word)
    if command is None or isinstance(command, click.Group):
        return None
    options = [one for one in command.params if isinstance(one, click.Option)]
    return {name for one in options for name in (*one.opts, *one.secondary_opts)} | {"--help"}
