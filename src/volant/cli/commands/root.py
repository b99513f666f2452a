"""`volant` itself: its commands by name, what is close to a misspelt one, and exit codes."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import click

from volant.cli import failures
from volant.cli.shared import naming
from volant.errors import Error
from volant.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Command -> its line in the list. Each noun is `volant.cli.commands.<noun>`, imported on use.
COMMANDS = {
    "run": "Run a program's entrypoint or one of its functions.",
    "serve": "Run an app, and load it anew whenever one of its files is saved.",
    "shell": "Open a shell in a function's environment, a container or an image.",
    "deploy": "Deploy an app: it goes on when the command has ended.",
    "app": "Apps: list, history, rollback, rollover, stop, logs.",
    "function": "Functions: list, info, stats, logs, calls, variants, autoscaler.",
    "call": "Spawned calls: list, show, logs, replay, cancel.",
    "schedule": "Schedules: list, pause, resume, run now.",
    "container": "Containers: list, logs, exec, stop.",
    "sandbox": "Sandboxes: create, run, list, exec, shell, cp, logs, stop.",
    "image": "Images: list, inspect, logs, prune, names.",
    "dict": "Dicts: create, list, get, items, clear, delete.",
    "queue": "Queues: create, list, len, peek, clear, delete.",
    "curl": "Send a request to a web function, with a token where it needs one.",
    "volume": "Volumes: create, list, ls, get, put, cp, rm, rename, delete, history, restore.",
    "secret": "Secrets: create, list, delete, and the key that seals them.",
    "environment": "Environments: list, create, rename, update, delete.",
    "token": "Tokens for web functions: create, list, revoke.",
    "setup": "Say that there is nothing to set up: no account is needed.",
    "profile": "Accounts, of which there is one: list, current, activate.",
    "mcp": "Serve sandboxes to an MCP client, such as an AI agent.",
    "server": "The daemon: start, stop, status, logs, backup, restore; servers: info, stats.",
    "config": "Settings, and where each comes from.",
}

#: Those that are in packages of their own: about objects that have names, and about accounts.
_PACKAGES = {
    **dict.fromkeys(("dict", "environment", "queue", "secret", "volume"), "objects"),
    **dict.fromkeys(("profile", "setup"), "accounts"),
}

#: Group -> commands of the programming model whose feature is not there yet.
PLANNED = {
    "volant": (
        "endpoint",
        "nfs", "workspace",
        "billing", "changelog", "dashboard", "skills",
    ),
    "volant volume": ("dashboard",),
    "volant app": ("stats", "promote", "dashboard"),
    "volant function": ("metrics",),
    "volant image": ("build", "pull"),
    "volant server": ("deploy", "requests", "metrics"),
    "volant config": ("set",),
    "volant environment": ("roles", "billing"),
}  # fmt: skip


class Group(click.Group):
    """A group that tells unknown commands from planned ones, and names what is close."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in PLANNED.get(naming.path_of(ctx.command_path), ()):
            raise failures.Refused(
                f"`{ctx.command_path} {name}` is not there yet",
                hint="README.md lists what works today",
            )
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            known = self.list_commands(ctx)
            raise failures.Refused(
                f"there is no command `{ctx.command_path} {name}`",
                hint=failures.did_you_mean(name, known) or f"it has {', '.join(known)}",
            )
        return super().resolve_command(ctx, args)


class Root(Group):
    """The top group, whose commands are modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name == "run":
            return _run
        package = _PACKAGES.get(cmd_name)
        place = f"{package}.{cmd_name}" if package else cmd_name
        module = importlib.import_module(f"volant.cli.commands.{place}")
        command: click.Command = module.group
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


class _Formatter(click.HelpFormatter):
    """Help under the name that was typed."""

    def getvalue(self) -> str:
        return naming.as_typed(super().getvalue())


EXAMPLES = """\b
Examples:
  volant run hello.py
  volant deploy app.py
  volant app list
  volant server status --json
"""


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXAMPLES,
)
@click.version_option(VERSION, message="%(prog)s %(version)s")
@click.option(
    "--profile", metavar="NAME", expose_value=False, help="Accepted, and of no use here.",
)  # fmt: skip
def root() -> None:
    """Run Python functions in isolated containers on machines you own."""


@click.command("run", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def _run(words: tuple[str, ...]) -> int:
    """Run a program's entrypoint or one of its functions."""
    from volant.cli.run import run_command

    return run_command(list(words))


def dispatch(words: Sequence[str]) -> int:
    """Serve a command line other than `volant run`; returns the exit code."""
    if naming.called() != naming.OWN:
        click.Context.formatter_class = _Formatter
    try:
        code = root.main(list(words), prog_name=naming.called(), standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return failures.USAGE
    except click.ClickException as error:
        hints = _hints(error)
        failures.print_error(_message(error), hints)
        return failures.USAGE
    except failures.Refused as error:
        failures.print_error(str(error), error.hints)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return failures.report(KeyboardInterrupt())
    except BrokenPipeError:
        failures.silence_stdout()
        return failures.BROKEN_PIPE
    except Error as error:
        return failures.report_error(error)
    return int(code or 0)


def _message(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption):
        return f"there is no option `{error.option_name}`"
    text = error.format_message().rstrip(".").replace("'", "`")
    return text[:1].lower() + text[1:]


def _hints(error: click.ClickException) -> list[str]:
    ctx = getattr(error, "ctx", None)
    hints = []
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        hints.append(failures.did_you_mean(error.option_name, error.possibilities))
    if ctx is not None:
        hints.append(f"`{ctx.command_path} --help` shows how it is used")
    return [hint for hint in hints if hint]
