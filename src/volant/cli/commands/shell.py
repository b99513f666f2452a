"""`volant shell`: a shell in a function's environment, in a container, or in an image."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from volant.cli import failures
from volant.cli.commands.terminal import run, run_in_container, terminal_option
from volant.cli.failures import Refused

if TYPE_CHECKING:
    from volant.sdk.app import App
    from volant.sdk.function import Function
    from volant.sdk.images.image import Image

#: What is run when nobody says: the better of two shells, whichever the container has.
DEFAULT_SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")


@click.command(
    "shell",
    epilog="\b\nExamples:\n  volant shell\n  volant shell hello.py::square\n"
    "  volant shell ta-01h2… --cmd 'python -i'",
)
@click.argument("reference", metavar="[REF]", required=False)
@click.option("-c", "--cmd", help="Command to run; by default bash where it is, else sh.")
@click.option("-m", "--module", is_flag=True, help="REF is a module path instead of a file.")
@click.option("--image", metavar="NAME", help="Without REF, an image of a registry.")
@click.option("--add-python", metavar="SERIES", help="Python to add to --image, such as 3.12.")
@terminal_option
def group(
    reference: str | None, cmd: str | None, module: bool, image: str | None,
    add_python: str | None, pty: bool | None,
) -> int:  # fmt: skip
    """Open a shell.

    REF is a function (`file.py::function`, or `file.py` with a single one), whose image,
    variables and sources a fresh container gets, without running anything of the program there;
    or a running container (`ta-…`), or an image (`im-…`). Without REF it is a fresh container
    with this Python and its packages. What a fresh container holds ends with the shell.
    """
    words = DEFAULT_SHELL if cmd is None else tuple(_words(cmd))
    if reference is not None and image is not None:
        raise Refused("a shell is of REF or of `--image`, not of both")
    if add_python is not None and image is None:
        raise Refused("`--add-python` belongs to `--image`")
    if reference is not None and reference.startswith("ta-") and not module:
        return run_in_container(reference, words, pty=pty)
    if reference is None:
        found = _of_image(_registry_image(image, add_python))
    elif reference.startswith("im-") and not module:
        found = _of_image(_image_by_id(reference))
    else:
        found = _find(reference, as_module=module)
    return _run_fresh(found, words, pty=pty)


def _registry_image(name: str | None, add_python: str | None) -> Image | None:
    """An image of a registry, or None for the one that functions have by default."""
    from volant.sdk.images.image import Image

    return None if name is None else Image.from_registry(name, add_python=add_python)


def _image_by_id(image_id: str) -> Image:
    from volant.sdk.images.image import Image

    return Image.from_id(image_id)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Refused(f"`--cmd {command}` is no command: {error}") from None
    if not words:
        raise Refused("`--cmd` without a command")
    return words


def _of_image(image: Image | None) -> tuple[App, Function[..., Any, Any]]:
    """An app with one function, in an image."""
    from volant.sdk.app import App

    app = App("shell", image=image, include_source=False)

    @app.function(serialized=True)
    def shell() -> None:
        """Nothing: no input comes."""

    return app, shell


def _find(reference: str, *, as_module: bool) -> tuple[App, Function[..., Any, Any]]:
    """The function that a reference means, and its app; ends with what the user's code raises.

    Raises:
        Refused: when nothing, or too much, fits.
    """
    from volant.cli import target

    sys.argv[:] = [reference.partition("::")[0]]
    try:
        chosen = target.find(reference, as_module=as_module)
    except Refused as error:
        error.hints = [hint.replace("volant run ", "volant shell ") for hint in error.hints]
        raise
    except Exception as error:  # noqa: BLE001  # loading runs user code
        sys.exit(failures.report(error))
    if chosen.app_function is not None:
        return chosen.app, chosen.app_function
    functions = chosen.app._functions
    if len(functions) == 1:
        [function] = functions.values()
        return chosen.app, function
    forms = [f"volant shell {chosen.label}::{name}" for name in functions]
    raise Refused(
        f"`{reference}` has {len(functions)} functions",
        hint="\n    ".join(["name one of them:", *forms]) if forms else "a shell needs a function",
        exit_code=1,
    )


def _run_fresh(
    found: tuple[App, Function[..., Any, Any]], words: tuple[str, ...], *, pty: bool | None
) -> int:
    """Run a command in a fresh container of a function."""
    from volant.channel import current
    from volant.sdk import output
    from volant.sdk.running import RunContext

    class Building(output.Output):
        """Shows what is printed while an image is built; data goes to standard output alone."""

        def write(self, stream: str, data: bytes) -> None:
            super().write("stderr", data)

    app, function = found
    output.active = Building()
    with RunContext(app, name=app.name, detach=False, is_shell=True):
        number = function._bound().number
        return run(current.channel(), "function_shell", words, pty=pty, function=number)
