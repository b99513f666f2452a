"""`volant sandbox`: the sandboxes of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from volant import ids
from volant.cli.commands.root import Group
from volant.cli.commands.sandbox.copying import cp
from volant.cli.commands.sandbox.making import create, pairs, run
from volant.cli.commands.sandbox.named import (
    any_sandbox_argument,
    asked,
    sandbox_argument,
    sandboxes_argument,
)
from volant.cli.failures import Refused
from volant.cli.shared import hub, show
from volant.cli.shared.environments import environment_option
from volant.cli.shared.logs import log_options, print_logs
from volant.cli.shared.terminal import run_in_sandbox, terminal_option
from volant.sdk.sandboxes.abilities.contents import SNAPSHOT_TIMEOUT_S, SNAPSHOT_TTL_S

if TYPE_CHECKING:
    from volant.channel.channel import Channel

#: What is run when nobody says: the better of two shells, whichever the sandbox has.
DEFAULT_SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")
#: Why one has finished that says no more.
_REASONS = {
    "exited": "its program ended",
    "failed": "it could not be started",
    "terminated": "it was terminated",
    "timed_out": "its time was over",
}
#: How a command is given words that look like options.
_AS_WRITTEN = {"allow_interspersed_args": False}


@click.group(cls=Group, epilog="\b\nExample:\n  volant sandbox list")
def group() -> None:
    """Sandboxes that run on this machine; each is named by its id, or by the name that it has."""


for _command in (create, run, cp):
    group.add_command(_command)


@group.command(
    "list",
    epilog="\b\nExamples:\n  volant sandbox list --json\n  volant sandbox list --tag user=ada",
)
@click.option("--app-id", metavar="APP", help="Only those of an app, by its id.")
@click.option(
    "--tag", "tags", metavar="NAME=VALUE", multiple=True, help="Only those with this tag."
)
@click.option("-a", "--all", "every", is_flag=True, help="Also those that have finished, and why.")
@environment_option
@show.json_option
def list_sandboxes(app_id: str | None, tags: tuple[str, ...], every: bool, as_json: bool) -> None:
    """List sandboxes, the newest last."""
    reply = hub.ask("sandbox_list", app_id=app_id, tags=pairs("--tag", tags), with_finished=every)
    found = reply["sandboxes"] if reply else []
    if as_json:
        show.print_json(found)
        return
    ends = ("code", "reason") if every else ()
    of = ("sidecar_of",) if any(one["sidecar_of"] for one in found) else ()
    columns = ("sandbox_id", "name", *of, "app", "state", *ends, "tags", "program", "created")
    empty = "no sandboxes" if reply else "no sandboxes: the server is not running"
    show.print_table([_row(one) for one in found], columns, empty)


def _row(one: dict[str, Any]) -> dict[str, object]:
    result = one["result"]
    return {
        **one, "program": " ".join(one["argv"])[:40] or None,
        "code": None if result is None else result["code"], "created": show.age(one["created_at"]),
        "reason": None if result is None else result["reason"] or _REASONS[result["ending"]],
    }  # fmt: skip


@group.command(
    "exec", context_settings=_AS_WRITTEN,
    epilog="\b\nExamples:\n  volant sandbox exec sb-01h2… -- python -V\n"
    "  volant sandbox exec sb-01h2… -- tar -c . > work.tar",
)  # fmt: skip
@sandbox_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@terminal_option
def exec_in_sandbox(sandbox: str, command: tuple[str, ...], pty: bool | None) -> int:
    """Run COMMAND in SANDBOX; it ends with this command.

    On a terminal the command has one too; else its stdin, stdout and stderr are pipes. The exit
    code is the command's, and 128 + n when signal n killed it.
    """
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise Refused("there is no command to run", hint=f"`volant sandbox shell {sandbox}`")
    return run_in_sandbox(sandbox, words, pty=pty)


@group.command("shell", epilog="\b\nExample:\n  volant sandbox shell sb-01h2…")
@sandbox_argument
@terminal_option
def shell(sandbox: str, pty: bool | None) -> int:
    """Open a shell in SANDBOX: bash where it is, else sh."""
    return run_in_sandbox(sandbox, DEFAULT_SHELL, pty=pty)


@group.command("logs", epilog="\b\nExample:\n  volant sandbox logs sb-01h2… --follow")
@any_sandbox_argument
@log_options
def sandbox_logs(sandbox: str, tail: int, follow: bool, as_json: bool) -> None:
    """Show what the program of SANDBOX printed."""
    print_logs("sandbox", sandbox, tail=tail, follow=follow, as_json=as_json, goes_on=_runs)


@group.command("stop", epilog="\b\nExample:\n  volant sandbox stop sb-01h2…")
@sandboxes_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON with lower_snake keys.")
def stop_sandboxes(sandboxes: tuple[str, ...], as_json: bool) -> None:
    """End each SANDBOX, and return when nothing of it runs any more."""
    rows = []
    for sandbox in sandboxes:
        reply = asked("sandbox_terminate", sandbox, sandbox_id=sandbox, wait=True)
        rows.append({"sandbox_id": sandbox, **reply["result"]})
    if as_json:
        show.print_json(rows)
        return
    for row in rows:
        click.echo(f"stopped {row['sandbox_id']}")


@group.command("pause", epilog="\b\nExample:\n  volant sandbox pause sb-01h2…")
@sandbox_argument
def pause(sandbox: str) -> None:
    """Have nothing in SANDBOX run until it is resumed; its memory stays."""
    asked("sandbox_pause", sandbox, sandbox_id=sandbox)
    click.echo(f"paused {sandbox}")


@group.command("resume", epilog="\b\nExample:\n  volant sandbox resume sb-01h2…")
@sandbox_argument
def resume(sandbox: str) -> None:
    """Let SANDBOX go on where it was paused."""
    asked("sandbox_resume", sandbox, sandbox_id=sandbox)
    click.echo(f"resumed {sandbox}")


@group.command("fork", epilog="\b\nExample:\n  volant sandbox fork sb-01h2… --name copy")
@sandbox_argument
@click.option("--name", metavar="NAME", help="Name of the copy.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with lower_snake keys.")
def fork(sandbox: str, name: str | None, as_json: bool) -> None:
    """Make a running copy of SANDBOX, which goes on, and print its id."""
    copy_id = ids.new_id("sb")
    asked("sandbox_fork", sandbox, sandbox_id=sandbox, copy_id=copy_id, name=name)
    if as_json:
        show.print_json({"sandbox_id": copy_id})
    else:
        click.echo(copy_id)


@group.command(
    "snapshot",
    epilog="\b\nExamples:\n  volant sandbox snapshot sb-01h2…\n"
    "  volant sandbox snapshot sb-01h2… --ttl 3600 --json",
)
@sandbox_argument
@click.option(
    "--ttl",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=SNAPSHOT_TTL_S,
    show_default=True,
    help="How long the image is kept.",
)
@click.option("--keep", is_flag=True, help="Keep the image until somebody removes it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with lower_snake keys.")
def snapshot(sandbox: str, ttl: float, keep: bool, as_json: bool) -> None:
    """Make an image of the files of SANDBOX, which goes on, and print its id."""
    reply = asked(
        "sandbox_snapshot", sandbox, sandbox_id=sandbox, timeout_s=SNAPSHOT_TIMEOUT_S,
        ttl_s=None if keep else ttl,
    )  # fmt: skip
    if as_json:
        show.print_json({"image_id": reply["image_id"]})
    else:
        click.echo(reply["image_id"])


def _runs(channel: Channel, sandbox_id: str) -> bool:
    reply = channel.request("sandbox_show", sandbox_id=sandbox_id)
    return bool(reply["state"] != "finished")
