"""`volant server`: the daemon of this machine, which other commands start on first use."""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from volant import config
from volant.channel import daemon
from volant.cli import failures
from volant.cli.backups.commands import backup, restore
from volant.cli.commands.pools import functions, servers
from volant.cli.commands.root import Group
from volant.cli.shared import hub, show
from volant.cli.shared.environments import environment_option
from volant.cli.shared.filtering import log_filters
from volant.cli.shared.logs import log_options
from volant.errors import ConnectionError, TimeoutError
from volant.wire import frames, values
from volant.wire.stream import FrameStream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from volant.channel.channel import Channel

#: How long a daemon may take to end its containers and itself.
STOP_WITHIN_S = 60.0
#: Between two looks at a log that is followed.
FOLLOW_PERIOD_S = 0.2
#: Between two looks at a daemon that has just been started.
SETTLE_PERIOD_S = 0.02


@click.group(cls=Group, epilog="\b\nExample:\n  volant server status")
def group() -> None:
    """The daemon of this machine; other commands start it on first use.

    Those that take SERVER are about a class of `@app.server()`: an id (`fu-…`), a name, or
    `app.Name`.
    """


@group.command(
    "start", short_help="Start the daemon unless it runs, and wait until it is ready.",
    epilog="\b\nExample:\n  volant server start",
)  # fmt: skip
def start() -> None:
    """Start the daemon unless it runs, and wait until it knows how it isolates."""
    home = config.load().home
    pid = hub.pid_of_daemon(home)
    if pid is not None:
        click.echo(f"already running, pid {pid}")
        return
    daemon.connect_or_start(home).close()
    channel = hub.open_channel(home)
    if channel is None:
        raise ConnectionError(
            "the daemon has ended as soon as it began", hint="`volant server logs` says why"
        )
    _wait_until_settled(channel)
    channel.close()
    click.echo(f"started, pid {hub.pid_of_daemon(home)}")


def _wait_until_settled(channel: Channel) -> None:
    """Wait until the daemon knows its rung, so that `status` behind `start` says it.

    Raises:
        ConnectionError: it ended, and says why: what isolation was asked for is not possible.
    """
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while channel.request("server_status")["rung"] == "starting":
        while not channel.closed and poll.poll(SETTLE_PERIOD_S * 1000):
            channel.pump()


@group.command(
    "stop", short_help="Stop the daemon, and wait until it is gone.",
    epilog="\b\nExample:\n  volant server stop",
)  # fmt: skip
def stop() -> None:
    """Stop the daemon with all apps and containers, and wait until it is gone."""
    home = config.load().home
    pid = hub.pid_of_daemon(home)
    sock = None if pid is None else daemon.connect(home)
    if pid is None or sock is None:
        click.echo("not running")
        return
    stream = FrameStream(sock)
    # Without a greeting: a daemon of any version understands this.
    request = values.encode({"id": 1, "op": "server_stop", "reason": "volant server stop"})
    stream.send(frames.control(frames.REQUEST, request))
    gone = hub.wait_until_gone(pid, STOP_WITHIN_S)
    stream.close()
    if not gone:
        raise TimeoutError(
            f"the daemon, pid {pid}, has not ended within {STOP_WITHIN_S:g} s",
            hint=f"`kill -9 {pid}` ends it; what it leaves behind is removed at the next start",
        )
    click.echo(f"stopped, pid {pid}")


@group.command(
    "status", short_help="Show what the daemon is and does.",
    epilog="\b\nExample:\n  volant server status --json",
)  # fmt: skip
@show.json_option
def status(as_json: bool) -> int:
    """Show what the daemon is and does; exit code 3 when it is not running."""
    found = hub.ask("server_status")
    if as_json:
        show.print_json({"running": found is not None, **_without_id(found or {})})
    elif found is None:
        click.echo("not running")
    else:
        show.print_fields({
            "running": f"pid {found['pid']}, version {found['version']}",
            "home": found["home"],
            "up": show.duration(found["uptime_s"]),
            "isolation": found["rung"],
            "cgroups": found["cgroup"],
            "apps": found["apps"],
            "containers": found["containers"],
            "zygotes": found["zygotes"],
            "GPUs": _gpus_in_words(found["gpus"]),
            "web functions": _gateway_in_words(found["gateway"]),
            "database": found["database"]["place"],
            "stops when idle for": show.duration(found["idle_timeout_s"]),
        })  # fmt: skip
        trouble = found["database"]["trouble"]
        for reason in [*found["reasons"], *([trouble] if trouble else [])]:
            click.echo(f"note: {reason}")
    return 0 if found is not None else failures.SERVICE


def _gateway_in_words(row: dict[str, Any] | None) -> str:
    """Where web functions are reached, if there are any."""
    if row is None or not row["routes"]:
        return "none"
    return f"{row['routes']} at {row['host']} port {row['port']}"


def _gpus_in_words(rows: list[dict[str, Any]]) -> str:
    """Each device with its model, memory, and who has it."""
    shown = [
        f"{row['index']}: {row['model']} {row['memory_bytes'] >> 30} GiB"
        f" ({row['container_id'] or 'free'})"
        for row in rows
    ]
    return ", ".join(shown) or "none"


def _without_id(reply: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in reply.items() if key != "id"}


@group.command("logs", epilog="\b\nExamples:\n  volant server logs --tail 20 --follow\n"
               "  volant server logs shop.Pages --since 1h")  # fmt: skip
@click.argument("server", required=False)
@log_options
@partial(log_filters, without="--function")
@click.option("--show-server-id", "show_function_id", is_flag=True, help="As `--show-function-id`.")
@environment_option
def logs(server: str | None, follow: bool, tail: int, as_json: bool, **wanted: Any) -> None:
    """Show the daemon's own log, also of one that no longer runs.

    With SERVER, what the containers of that class of `@app.server()` printed; the other options
    are for it alone.
    """
    if server is not None:
        functions.print_logs_of("server", server, tail, wanted, follow=follow, as_json=as_json)
        return
    if any(wanted.values()):
        raise failures.Refused(
            "the daemon's own log is shown as it is",
            hint="these options need SERVER: `volant server logs shop.Pages --since 1h`",
        )
    path = os.path.join(config.load().home, daemon.LOG_NAME)
    try:
        file = open(path, "rb")  # noqa: SIM115  # closed below
    except FileNotFoundError:
        print("no log: the server has not run yet", file=sys.stderr)
        return
    except OSError as error:
        raise ConnectionError(f"cannot read {path}: {error.strerror}") from error
    lines = file.read().splitlines(keepends=True)
    if len(lines) < tail:
        lines = _older_lines(path) + lines
    try:
        for line in lines[len(lines) - min(tail, len(lines)) :]:
            _print_line(line, as_json=as_json)
        for line in follow_lines(file, path) if follow else ():
            _print_line(line, as_json=as_json)
    except KeyboardInterrupt:
        pass  # how one stops following
    finally:
        file.close()


def _older_lines(path: str) -> list[bytes]:
    """What the log held before it became too long and was begun anew."""
    try:
        with open(os.path.join(os.path.dirname(path), daemon.OLDER_LOG_NAME), "rb") as older:
            return older.read().splitlines(keepends=True)
    except OSError:
        return []  # it never became too long


def follow_lines(file: BinaryIO, path: str) -> Iterator[bytes]:
    """The lines that are written from now on, also to the files that take its place at `path`."""
    pause = threading.Event()
    partial = b""
    try:
        while True:
            partial += file.readline()
            if partial.endswith(b"\n"):
                yield partial
                partial = b""
            elif not _is_replaced(file, path):
                pause.wait(FOLLOW_PERIOD_S)
            elif rest := partial + file.readline():  # it came just before the file was replaced
                yield rest
                partial = b""
            else:
                file.close()
                file = open(path, "rb")  # noqa: SIM115  # closed below, or when it is replaced too
    finally:
        file.close()


def _is_replaced(file: BinaryIO, path: str) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False  # the next one is about to be made


def _print_line(line: bytes, *, as_json: bool) -> None:
    text = line.decode("utf-8", "replace").rstrip("\n")
    try:
        entry = json.loads(text)
        moment = show.moment_text(entry.pop("time"))
    except (ValueError, AttributeError, KeyError, TypeError):
        entry = None  # not one of ours: what Python itself printed when it fell
    if as_json:
        show.print_json_line(json.loads(text) if entry is not None else {"text": text})
    elif entry is None:
        print(text, flush=True)
    else:
        level, event = entry.pop("level", ""), entry.pop("event", "")
        fields = " ".join(f"{key}={value}" for key, value in entry.items())
        print(f"{moment} {level:<7} {event} {fields}".rstrip(), flush=True)


for _command in (backup, restore, servers.info, servers.stats, servers.autoscaler):
    group.add_command(_command)
