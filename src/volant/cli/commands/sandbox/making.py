"""`volant sandbox create` and `run`: sandboxes made from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from volant.cli.failures import Refused
from volant.cli.shared import show
from volant.cli.shared.terminal import run as run_command, terminal_option
from volant.config import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.sdk.app import App
    from volant.sdk.images.image import Image
    from volant.sdk.sandboxes.sandbox import Sandbox

#: The app of sandboxes that go on when this command has ended, unless another one is named.
APP = "sandboxes"
#: How a command is given words that look like options.
_AS_WRITTEN = {"allow_interspersed_args": False}
_SECONDS = click.FloatRange(min=0, min_open=True)
#: What a sandbox may be given, in the order of their help.
_OPTIONS = (
    click.option(
        "--image", metavar="IMAGE",
        help="An image of a registry, `im-…`, `name:` and one that was published, `debian` or"
        " `host`, which is the default.",
    ),
    click.option(
        "--env", "variables", metavar="KEY=VALUE", multiple=True,
        help="A variable of all its commands; repeatable. KEY alone takes yours.",
    ),
    click.option(
        "--secret", "secrets", metavar="NAME", multiple=True,
        help="A stored secret whose variables it gets; repeatable.",
    ),
    click.option("--workdir", metavar="PATH", help="Where its commands work, an absolute path."),
    click.option(
        "--timeout", metavar="SECONDS", type=_SECONDS, default=300, show_default=True,
        help="How long it lives at most.",
    ),
    click.option("--cpu", metavar="CORES", type=_SECONDS, help="Processors that it may use."),
    click.option(
        "--memory", metavar="MIB", type=click.IntRange(min=1), help="Memory that it may use."
    ),
    click.option(
        "--ephemeral-disk", metavar="MIB", type=click.IntRange(min=1),
        help="What it may write to the disk.",
    ),
    click.option("--gpu", metavar="MODEL", help="Such as `any` or `H100:2`."),
    click.option(
        "--volume", "volumes", metavar="PATH=NAME", multiple=True,
        help="A volume, and where it is mounted; repeatable.",
    ),
    click.option("--block-network", is_flag=True, help="No network but its own loopback."),
    click.option(
        "--allow-domain", "domains", metavar="DOMAIN", multiple=True,
        help="A domain that it may reach, and no others; repeatable.",
    ),
    click.option(
        "--runtime", type=click.Choice(RUNTIMES),
        help="`gvisor` for a kernel of its own, `container` for this machine's; else the setting"
        " sandbox_runtime decides.",
    ),
)  # fmt: skip


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(
    "create",
    context_settings=_AS_WRITTEN,
    epilog="\b\nExamples:\n  volant sandbox create --name worker --timeout 3600\n"
    "  volant sandbox create --image python:3.12-slim --env MODE=test -- python -m http.server",
)
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
@click.option("--name", metavar="NAME", help="A name that no other one of its app has.")
@click.option("--tag", "tags", metavar="NAME=VALUE", multiple=True, help="Repeatable.")
@click.option(
    "--idle-timeout", metavar="SECONDS", type=_SECONDS, help="Ends it after so long without use."
)
@click.option("--app", "app_name", metavar="APP", default=APP, show_default=True,
              help="The deployed app that it belongs to, made if there is none.")  # fmt: skip
@_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON with lower_snake keys.")
def create(
    program: tuple[str, ...], name: str | None, tags: tuple[str, ...], idle_timeout: float | None,
    app_name: str, as_json: bool, **wishes: Any,
) -> None:  # fmt: skip
    """Make a sandbox that goes on, and print its id.

    It idles, or runs PROGRAM and ends with that.
    """
    from volant.sdk.app import App

    words = program[1:] if program[:1] == ("--",) else program
    app = App.lookup(app_name, create_if_missing=True)
    sandbox = _made(
        app, words, wishes, name=name, tags=pairs("--tag", tags), idle_timeout=idle_timeout
    )
    if as_json:
        show.print_json({"sandbox_id": sandbox.object_id, "name": name, "app": app_name})
    else:
        click.echo(sandbox.object_id)


@click.command(
    "run",
    context_settings=_AS_WRITTEN,
    epilog="\b\nExamples:\n  volant sandbox run -- python3 -c 'print(6 * 7)'\n"
    "  volant sandbox run --image debian --env TOKEN --block-network -- bash",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_options
@terminal_option
def run(command: tuple[str, ...], pty: bool | None, **wishes: Any) -> int:
    """Run COMMAND in a sandbox of its own, which ends with it.

    On a terminal the command has one too; else its stdin, stdout and stderr are pipes. The exit
    code is the command's, and 128 + n when signal n killed it.
    """
    from volant.channel import current
    from volant.sdk.app import App

    words = command[1:] if command[0] == "--" else command
    if not words:
        raise Refused("there is no command to run")
    app = App(f"{APP}-run")
    with app.run():
        sandbox = _made(app, (), wishes)
        channel, name = current.channel(), sandbox.object_id
        return run_command(channel, "sandbox_attach", words, pty=pty, sandbox_id=name)


def _made(app: App, words: tuple[str, ...], wishes: dict[str, Any], **more: Any) -> Sandbox:
    from volant.sdk.objects.secret import Secret
    from volant.sdk.sandboxes.sandbox import Sandbox
    from volant.sdk.volumes.volume import Volume

    cpu, memory = wishes["cpu"], wishes["memory"]
    volumes = {
        path: Volume.from_name(name) for path, name in pairs("--volume", wishes["volumes"]).items()
    }
    return Sandbox.create(
        *words, app=app, image=_image(wishes["image"]),
        env=_variables(wishes["variables"]), volumes=volumes, workdir=wishes["workdir"],
        secrets=[Secret.from_name(name) for name in wishes["secrets"]],
        timeout=wishes["timeout"], gpu=wishes["gpu"], block_network=wishes["block_network"],
        runtime=wishes["runtime"], ephemeral_disk=wishes["ephemeral_disk"],
        cpu=None if cpu is None else (min(cpu, 0.125), cpu),
        memory=None if memory is None else (min(memory, 64), memory),
        outbound_domain_allowlist=wishes["domains"] or None, **more,
    )  # fmt: skip


def _image(name: str | None) -> Image:
    from volant.sdk.images.image import Image

    if name is None or name == "host":
        return Image.host()
    if name == "debian":
        return Image.debian_slim()
    if name.startswith("im-"):
        return Image.from_id(name)
    if name.startswith("name:"):
        return Image.from_name(name.removeprefix("name:"))
    return Image.from_registry(name)


def _variables(given: tuple[str, ...]) -> dict[str, str]:
    import os

    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals and name not in os.environ:  # noqa: TID251  # the user's own, by name
            raise Refused(f"there is no variable `{name}` here", hint="write --env KEY=VALUE")
        found[name] = value if equals else os.environ[name]  # noqa: TID251  # as above
    return found


def pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    """What an option says that may come several times, as NAME=VALUE.

    Raises:
        Refused: for what is no pair.
    """
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals and value):
            raise Refused(f"`{option} {one}` is no pair", hint=f"write {option} NAME=VALUE")
        found[name] = value
    return found
