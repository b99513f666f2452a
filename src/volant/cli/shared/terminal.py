"""Commands in containers, with the terminal of this process or its stdin, stdout and stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from volant.cli.failures import BROKEN_PIPE, Refused, silence_stdout
from volant.cli.shared import hub
from volant.sdk.terminal import commands, local

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from volant.channel.channel import Channel

#: `--pty` and `--no-pty`; without either, None: whatever this process has.
terminal_option: Callable[[Any], Any] = click.option(
    "--pty/--no-pty", default=None, help="Give it a terminal, or not; as this one by default."
)


def run_in_container(container: str, words: Sequence[str], *, pty: bool | None) -> int:
    """Run a command in a container that is there; returns the exit code.

    Raises:
        Refused: when no daemon runs.
    """
    return _run_in("container", container, "container_exec", words, pty=pty, container=container)


def run_in_sandbox(sandbox: str, words: Sequence[str], *, pty: bool | None) -> int:
    """Run a command in a sandbox, which ends with this process; returns the exit code.

    Raises:
        Refused: when no daemon runs.
    """
    return _run_in("sandbox", sandbox, "sandbox_attach", words, pty=pty, sandbox_id=sandbox)


def _run_in(
    what: str, name: str, op: str, words: Sequence[str], *, pty: bool | None, **fields: Any
) -> int:
    channel = hub.open_channel()
    if channel is None:
        raise Refused(f"there is no {what} `{name}`: the server is not running")
    try:
        return run(channel, op, words, pty=pty, **fields)
    finally:
        channel.close()


def run(channel: Channel, op: str, words: Sequence[str], *, pty: bool | None, **fields: Any) -> int:
    """Run a command; returns the exit code."""
    on_terminal = local.is_terminal() if pty is None else pty
    try:
        ended = commands.run(channel, op, words, on_terminal=on_terminal, **fields)
    except BrokenPipeError:  # here, for click would make another exit code of it
        silence_stdout()
        return BROKEN_PIPE
    if ended.with_container:
        what = f"sandbox: {ended.reason}" if ended.reason else "container"
        print(f"volant: the command has ended with its {what}", file=sys.stderr)
    return ended.exit_code
