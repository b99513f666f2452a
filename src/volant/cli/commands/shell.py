"""`volant shell`: a shell in a function's environment, in a container, or in an image."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from volant.cli import failures
from volant.cli.failures import Refused
from volant.cli.shared.environments import environment_option
from volant.cli.shared.terminal import run, run_in_container, run_in_sandbox, terminal_option

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from volant.cli.progress import Progress
    from volant.sdk.app import App
    from volant.sdk.function import Function
    from volant.sdk.images.image import Image

#: What is run when nobody says: the better of two shells, whichever the container has.
DEFAULT_SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")


#: Options that a fresh container takes, and one that runs already cannot; in their order of help.
FRESH_OPTIONS = (
    click.option("--image", metavar="NAME", help="Without REF, an image of a registry."),
    click.option("--add-python", metavar="SERIES", help="Python to add to --image, such as 3.12."),
    click.option(
        "--cpu", type=click.FloatRange(min=0, min_open=True), metavar="CORES",
        help="Processors that it may use, such as 0.5.",
    ),
    click.option(
        "--memory", type=click.IntRange(min=1), metavar="MIB", help="Memory that it may use."
    ),
    click.option(
        "--secret-from-env", metavar="NAME", multiple=True,
        help="A variable of yours that it gets as a secret; repeatable.",
    ),
    click.option(
        "--add-local", metavar="PATH", multiple=True,
        help="A file or directory that it gets, below /root; repeatable.",
    ),
)  # fmt: skip
#: Options of the programming model whose feature is not there yet, and what to use meanwhile.
PLANNED = {
    "--volume": "",
    "--secret": "`--secret-from-env NAME` gives the shell a variable of yours",
    "--gpu": "",
    "--cloud": "",
    "--region": "",
}


def _all_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(FRESH_OPTIONS):
        command = option(command)
    for name in PLANNED:
        command = click.option(name, hidden=True, multiple=True)(command)
    return command


@click.command(
    "shell",
    epilog="\b\nExamples:\n  volant shell\n  volant shell hello.py::square\n"
    "  volant shell --add-local data.csv --memory 512\n"
    "  volant shell ta-01h2… --cmd 'python -i'",
)
@click.argument("reference", metavar="[REF]", required=False)
@click.option("-c", "--cmd", help="Command to run; by default bash where it is, else sh.")
@click.option("-m", "--module", is_flag=True, help="REF is a module path instead of a file.")
@_all_options
@terminal_option
@environment_option
def group(
    reference: str | None, cmd: str | None, module: bool, pty: bool | None, **wishes: Any
) -> int:
    """Open a shell.

    REF is a function (`file.py::function`, or `file.py` with a single one), whose image,
    variables and sources a fresh container gets, without running anything of the program there;
    or a running container (`ta-…`) or sandbox (`sb-…`), or an image (`im-…`). Without REF it is a
    fresh container with this Python and its packages. What a fresh container holds ends with the
    shell.
    """
    given = [name for name in wishes if wishes[name] not in (None, ())]
    _refuse_planned(given)
    words = DEFAULT_SHELL if cmd is None else tuple(_words(cmd))
    if reference is not None and "image" in given:
        raise Refused("a shell is of REF or of `--image`, not of both")
    if reference is not None and reference.startswith("ta-") and not module:
        _refuse_for_container(reference, given)
        return run_in_container(reference, words, pty=pty)
    if reference is not None and reference.startswith("sb-") and not module:
        _refuse_for_container(reference, given)
        return run_in_sandbox(reference, words, pty=pty)
    if "add_python" in given and "image" not in given:
        raise Refused("`--add-python` belongs to `--image`")
    added = _added(wishes["add_local"])
    if reference is None:
        found = _of_image(_registry_image(wishes["image"], wishes["add_python"]))
    elif reference.startswith("im-") and not module:
        found = _of_image(_image_by_id(reference))
    else:
        found = _find(reference, as_module=module)
    _give(found[1], wishes)
    return _run_fresh(found, words, added, pty=pty)


def _refuse_planned(given: list[str]) -> None:
    from volant.errors import UnimplementedError
    from volant.sdk.planned import unimplemented

    for option, hint in PLANNED.items():
        if option.lstrip("-") in given:
            error = unimplemented(f"`volant shell {option}`")
            raise UnimplementedError(error.message, hint=hint or error.hint)


def _refuse_for_container(container: str, given: list[str]) -> None:
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise Refused(
            f"`{option}` is for a fresh container, and `{container}` runs already",
            hint="name a function or an image, whose shell gets a container of its own",
        )


def _added(paths: Sequence[str]) -> dict[str, str]:
    if not paths:
        return {}
    from volant.sdk.terminal.fresh import local_files

    return local_files(paths)


def _give(function: Function[..., Any, Any], wishes: Mapping[str, Any]) -> None:
    cpu, memory, variables = wishes["cpu"], wishes["memory"], wishes["secret_from_env"]
    if cpu is None and memory is None and not variables:
        return
    from volant.sdk.terminal.fresh import give

    give(function, cpu=cpu, memory=memory, variables=variables)


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
    found: tuple[App, Function[..., Any, Any]], words: tuple[str, ...], added: dict[str, str], *,
    pty: bool | None,
) -> int:  # fmt: skip
    """Run a command in a fresh container of a function."""
    from volant.channel import current
    from volant.sdk import output
    from volant.sdk.running import RunContext
    from volant.sdk.terminal import local

    class Building(output.Output):
        """Shows what is printed while an image is built; data goes to standard output alone."""

        def write(self, stream: str, data: bytes) -> None:
            super().write("stderr", data)

    app, function = found
    progress: Progress | None = None
    if local.can_draw():
        from volant.cli.progress import Progress

        progress = Progress(app.name or "shell")
    output.active = progress or Building()
    try:
        with RunContext(app, name=app.name, detach=False, is_shell=True, added=added):
            if progress is not None:
                progress.stop()
            number = function._bound().number
            return run(current.channel(), "function_shell", words, pty=pty, function=number)
    finally:
        if progress is not None:
            progress.stop()
