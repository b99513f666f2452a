"""`volant run`: loads a program, picks what to run in it, runs it under its app.

    words ─► options ─► load the file ─► pick the target ─► its arguments ─► app.run() ─► call it

On the way of a plain run nothing is imported that it does not need: the parser is plain Python,
and help, errors, options of entrypoints and the live region live in modules of their own.
The user's code runs on the main thread.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.cli.progress import Progress
    from volant.cli.target import Target

#: Option -> the attribute that it switches on.
SWITCHES = {
    "-q": "quiet", "--quiet": "quiet", "--verbose": "verbose",
    "-d": "detach", "--detach": "detach",
    "-m": "module", "--module": "module",
    "-i": "interactive", "--interactive": "interactive",
    "--timings": "timings", "--timestamps": "timestamps",
    "-h": "help", "--help": "help",
}  # fmt: skip
#: Option -> the attribute that it gives a value.
VALUES = {
    "-n": "name", "--name": "name",
    "-w": "write_result", "--write-result": "write_result",
    "-e": "environment", "--env": "environment",
}  # fmt: skip


class RunOptions:
    """The words of `volant run`: its own options, what to run, and the rest for that."""

    def __init__(self) -> None:
        self.quiet = self.detach = self.module = self.interactive = False
        self.timings = self.help = self.verbose = self.timestamps = False
        self.name: str | None = None
        self.write_result: str | None = None
        self.environment: str | None = None
        self.reference: str | None = None
        self.rest: list[str] = []


def parse(words: list[str]) -> RunOptions:
    """Read the words behind `volant run`; those behind the reference are left alone.

    Raises:
        Refused: for an unknown option, or one without its value.
    """
    options = RunOptions()
    waiting = list(reversed(words))
    while waiting:
        word = waiting.pop()
        if word == "--" and waiting:
            word = waiting.pop()
        elif word.startswith("-") and word.partition("::")[0] != "-":
            _take_option(options, word, waiting)
            continue
        options.reference = word
        options.rest = waiting[::-1]
        break
    return options


def _take_option(options: RunOptions, word: str, waiting: list[str]) -> None:
    name, equals, value = word.partition("=")
    if not word.startswith("--") and len(word) > 2:  # -qd, -nNAME
        name, value = word[:2], word[2:]
        if name in SWITCHES:
            waiting.append("-" + value)
            value = ""
        equals = value
    if name in SWITCHES and not equals:
        setattr(options, SWITCHES[name], True)
    elif name in VALUES and (equals or waiting):
        setattr(options, VALUES[name], value if equals else waiting.pop())
    else:
        from volant.cli.failures import refused_option

        raise refused_option(name, known=[*SWITCHES, *VALUES], takes_value=name in VALUES)


def run_command(words: list[str]) -> int:
    """Serve `volant run`; returns the exit code."""
    try:
        return _run(parse(words))
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  # what user code raises is shown here
        from volant.cli.failures import report

        return report(error)


def _run(options: RunOptions) -> int:
    if options.reference is None:
        from volant.cli.run_help import without_target

        return without_target(options)
    if options.environment is not None:
        from volant.cli.shared.environments import choose

        choose(options.environment)
    _load_sdk()
    if options.interactive:
        _check_terminal()
    from volant.cli import target

    if options.name is not None:
        _check_name(options.name)
    if options.rest or options.help:
        # Before the program's directory is on sys.path, where a file may be called inspect.py.
        from volant.cli import parameters  # noqa: F401
    sys.argv[:] = [options.reference.partition("::")[0], *options.rest]
    try:
        chosen = target.find(options.reference, as_module=options.module)
    except Exception as error:
        forms = getattr(error, "forms", ())  # when several functions fit
        if not forms or not (options.help or {"-h", "--help"} & {*options.rest}):
            raise
        from volant.cli.run_help import print_forms

        print_forms(forms)
        return 0
    given = _arguments(chosen, options)
    if given is None:
        return 0
    if options.write_result is not None and chosen.function and chosen.function.is_generator:
        from volant.cli.failures import Refused

        raise Refused(f"`{chosen.name}` yields many values, and `--write-result` writes one")
    result = _call_under_app(chosen, options, *given)
    if options.write_result is not None:
        _write(options.write_result, result)
    elif chosen.function is not None and result is not None:
        print(result)
    return 0


def _load_sdk() -> None:
    """Import what every run needs, before any module of the user's, and spare it the collector.

    It lives until the process ends, so nothing is ever found in it; looking through it costs a
    tenth of a small run, the most of that when the interpreter ends.
    """
    gc.disable()
    import volant.sdk.calls.forms
    import volant.sdk.output
    import volant.sdk.running  # noqa: F401

    gc.freeze()
    gc.enable()


def _check_terminal() -> None:
    from volant.errors import InvalidError
    from volant.sdk.terminal.desk import check_terminal

    try:
        check_terminal()
    except InvalidError as error:
        from volant.cli.failures import Refused

        raise Refused(error.message, hint=error.hint or "") from None


def _check_name(name: str) -> None:
    from volant.errors import InvalidError
    from volant.sdk.naming import check_name

    try:
        check_name("an app", name)
    except InvalidError as error:
        from volant.cli.failures import Refused

        raise Refused(error.message, hint=error.hint or "") from None


def _arguments(
    chosen: Target, options: RunOptions
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The arguments of the call, or None when help was asked for and given."""
    words = ["--help"] if options.help else options.rest
    if not words and chosen.needs_no_arguments:
        return (), {}
    from volant.cli import parameters

    parsed = parameters.parse(chosen, words)
    if parsed is None:
        from volant.cli.run_help import print_target

        print_target(chosen)
    return parsed


def _call_under_app(
    chosen: Target, options: RunOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    progress = begin_output(
        chosen.app.name or chosen.label, quiet=options.quiet, verbose=options.verbose,
        timestamps=options.timestamps,
    )  # fmt: skip
    running = chosen.app.run(
        name=options.name, detach=options.detach, interactive=options.interactive
    )
    try:
        with running as app:
            app_id = app.app_id
            if progress is not None:
                progress.app_runs()
            try:
                result = _call(chosen, args, kwargs)
            except KeyboardInterrupt:
                options.timings = False  # the connection may be in the middle of a frame
                raise
            finally:
                if options.timings:
                    from volant.cli.timings import print_timings

                    print_timings(app_id)
    finally:
        if progress is not None:
            progress.stop()
        if running.unfinished_count and not options.quiet:
            _tell_unfinished(running.unfinished_count)
    if options.detach and not options.quiet:
        from volant.cli.shared.naming import as_typed

        told = f"detached app {app_id}; `volant app logs {app_id}` shows it"
        print(as_typed(told), file=sys.stderr)
    return result


def begin_output(
    title: str, *, quiet: bool, verbose: bool = False, timestamps: bool = False
) -> Progress | None:
    """Show what happens from now on: live where a terminal can, which has to be stopped then."""
    progress = _begun_output(title, quiet=quiet, verbose=verbose)
    if timestamps:
        from volant.cli.shared.filtering import Stamped
        from volant.sdk import output

        assert output.active is not None
        output.active.stamped = Stamped()
    return progress


def _begun_output(title: str, *, quiet: bool, verbose: bool) -> Progress | None:
    from volant.sdk import output

    if not quiet and not verbose and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from volant.cli.progress import Progress

        output.active = progress = Progress(title)
        return progress
    output.active = output.Output()
    output.active.tells_builds = not quiet
    output.active.is_verbose = verbose or None
    return None


def _tell_unfinished(count: int) -> None:
    calls = "1 unfinished call was" if count == 1 else f"{count} unfinished calls were"
    keeps = "keeps it" if count == 1 else "keeps them"
    print(f"{calls} cancelled; `--detach` {keeps} running", file=sys.stderr)


def _call(chosen: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    function = chosen.function
    if function is None:
        returned = chosen.raw(*args, **kwargs)
        return _awaited(returned) if hasattr(returned, "__await__") else returned
    if not function.is_generator:
        return function.remote(*args, **kwargs)
    for value in function.remote_gen(*args, **kwargs):
        print(value, flush=True)
    return None


def _awaited(awaitable: Any) -> Any:
    import asyncio

    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())


def _write(path: str, result: object) -> None:
    """Write a result to a file, text as UTF-8.

    Raises:
        Refused: for anything but str and bytes, or a file that cannot be written.
    """
    from volant.cli.failures import Refused

    if not isinstance(result, (str, bytes)):
        raise Refused(
            f"the result is of type {type(result).__name__}, and `--write-result` writes "
            "str or bytes only",
            hint="return text or bytes, such as `json.dumps(result)`",
            exit_code=1,
        )
    try:
        with open(path, "wb") as file:
            file.write(result.encode() if isinstance(result, str) else result)
    except OSError as error:
        raise Refused(f"cannot write the result to {path}: {error.strerror}") from error
