"""`volant container`: the containers of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from volant.cli.commands.root import Group
from volant.cli.failures import Refused
from volant.cli.shared import hub, show
from volant.cli.shared.environments import environment_option
from volant.cli.shared.filtering import LOOKED_THROUGH, Filter, log_filters
from volant.cli.shared.logs import log_options, print_logs
from volant.cli.shared.terminal import run_in_container, terminal_option

if TYPE_CHECKING:
    from volant.channel.channel import Channel


@click.group(cls=Group, epilog="\b\nExample:\n  volant container list")
def group() -> None:
    """Containers that run on this machine."""


@group.command("list", epilog="\b\nExample:\n  volant container list --json")
@click.option("--app-id", metavar="ID", help="Only those of this app.")
@show.json_option
@environment_option
def list_containers(as_json: bool, app_id: str | None) -> None:
    """List containers, the newest last."""
    reply = hub.ask("container_list")
    found = reply["containers"] if reply else []
    found = [one for one in found if app_id in {None, one["app_id"]}]
    found.sort(key=lambda container: float(container["started_at"]))
    if as_json:
        show.print_json(found)
        return
    rows = [
        {**one, "memory": show.memory(one["memory_bytes"]), "started": show.age(one["started_at"])}
        for one in found
    ]
    columns = ("container_id", "app_id", "function", "state", "rung", "pid", "memory",
               "inputs_done", "started")  # fmt: skip
    empty = "no containers" if reply else "no containers: the server is not running"
    show.print_table(rows, columns, empty)


@group.command("stop", epilog="\b\nExample:\n  volant container stop ta-01h2xcejqtf2nbrexx3vqjhp41")
@click.argument("container")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; nothing is asked.")
@click.option("--graceful", is_flag=True, help="Accepted: it always may run its exit hooks.")
def stop_container(container: str, yes: bool, graceful: bool) -> None:
    """Stop CONTAINER after its exit hooks; the inputs it works on run again elsewhere."""
    reply = hub.ask("container_stop", container=container)
    if reply is None:
        raise Refused(f"there is no container `{container}`: the server is not running")
    click.echo(f"stopped {reply['container_id']}")


@group.command("logs", epilog="\b\nExample:\n  volant container logs ta-01h2… --follow")
@click.argument("container")
@click.option("--all", "everything", is_flag=True, help="Show all that is kept.")
@log_options
@log_filters
def container_logs(
    container: str, everything: bool, tail: int, follow: bool, as_json: bool, **wanted: Any
) -> None:
    """Show what CONTAINER printed."""
    print_logs(
        "container", container, tail=LOOKED_THROUGH if everything else tail, follow=follow,
        as_json=as_json, goes_on=_runs, only=Filter(**wanted),
    )  # fmt: skip


@group.command(
    "exec",
    context_settings={"allow_interspersed_args": False},
    epilog="\b\nExamples:\n  volant container exec ta-01h2… -- bash\n"
    "  volant container exec ta-01h2… -- tar -c . > work.tar",
)
@click.argument("container")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@terminal_option
def exec_in_container(container: str, command: tuple[str, ...], pty: bool | None) -> int:
    """Run COMMAND in CONTAINER, with its rights and its limits.

    On a terminal the command has one too; else its stdin, stdout and stderr are pipes. The exit
    code is the command's, and 128 + n when signal n killed it.
    """
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise Refused("there is no command to run", hint=f"`volant shell {container}`")
    return run_in_container(container, words, pty=pty)


def _runs(channel: Channel, container_id: str) -> bool:
    rows = channel.request("container_list")["containers"]
    return any(row["container_id"] == container_id for row in rows)
