"""How the command tells what went wrong, and which exit code that is.

Refused               error: ... / hint: ...            2, or its own
Ctrl-C                Interrupted                       130
the service failed    error: ... / hint: ...            3
the user's exception  its traceback without our frames  1
"""

from __future__ import annotations

import os
import sys

from volant import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import TextIO

FAILED, USAGE, SERVICE, INTERRUPTED, BROKEN_PIPE = 1, 2, 3, 130, 141

_OUR_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_SERVICE_ERRORS = (
    errors.AuthError, errors.ConnectionError, errors.InternalError, errors.ServiceError,
    errors.VersionError,
)  # fmt: skip


class Refused(Exception):
    """The command cannot do what its words ask for."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        hints: Sequence[str] = (),
        exit_code: int = USAGE,
    ) -> None:
        super().__init__(message)
        self.hints = [text for text in (hint, *hints) if text]
        self.exit_code = exit_code
        #: commands that would do, when what was given fits several functions
        self.forms: list[str] = []


def refused_option(name: str, *, known: Iterable[str], takes_value: bool) -> Refused:
    """The error for an option of `volant run` that is unknown or lacks its value."""
    if takes_value:
        return Refused(f"option `{name}` needs a value")
    if name in known:
        return Refused(f"option `{name}` takes no value")
    return Refused(
        f"there is no option `{name}`",
        hints=[
            did_you_mean_option(name, known),
            "options of the program go behind its file; `volant run --help` lists the others",
        ],
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names what is close to `word`, or ""."""
    return ask_whether(closest(word, known))


def did_you_mean_option(word: str, known: Iterable[str]) -> str:
    """The same for options: the dashes that all of them have make none look like another."""
    by_name: dict[str, str] = {}
    for option in known:
        by_name.setdefault(option.lstrip("-"), option)
    return ask_whether([by_name[name] for name in closest(word.lstrip("-"), by_name)])


def closest(word: str, known: Iterable[str]) -> list[str]:
    """At most two of `known` that look like `word`, those with the same letters first."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=4, cutoff=0.65)
    return sorted(near, key=lambda one: sorted(one) != sorted(word))[:2]


def ask_whether(words: Sequence[str]) -> str:
    """A hint that asks whether one of `words` was meant, or ""."""
    names = " or ".join(f"`{word}`" for word in dict.fromkeys(words))
    return f"did you mean {names}?" if names else ""


def report(error: BaseException) -> int:
    """Show what ended a run; returns the exit code."""
    if isinstance(error, KeyboardInterrupt):
        print("Interrupted", file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError) and _ended_in_our_code(error):
        silence_stdout()
        return BROKEN_PIPE
    if isinstance(error, Refused):
        print_error(str(error), error.hints)
        return error.exit_code
    if isinstance(error, _SERVICE_ERRORS) and not _shows_all_frames():
        print_service_error(error)
        return SERVICE
    return _report_exception(error)


def report_error(error: errors.Error) -> int:
    """Show an error that a command other than `run` met; returns the exit code."""
    print_service_error(error)
    unusable = (errors.InvalidError, errors.NotFoundError, errors.UnimplementedError)
    return USAGE if isinstance(error, unusable) else SERVICE


def print_service_error(error: errors.Error) -> None:
    """One line for the error, one for its hint."""
    print_error(error.message, [error.hint] if error.hint else [])


def print_error(message: str, hints: Iterable[str] = ()) -> None:
    """Write `error: ...` and `hint: ...` lines to standard error."""
    from volant.cli.shared.naming import as_typed

    red, cyan, plain = ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") if colours(sys.stderr) else [""] * 3
    print(f"{red}error{plain}: {as_typed(message)}", file=sys.stderr)
    for hint in hints:
        print(f"{cyan}hint{plain}: {as_typed(hint)}", file=sys.stderr)


def colours(stream: TextIO) -> bool:
    """True when `stream` is a terminal of a person who did not ask for plain text."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def silence_stdout() -> None:
    """Nobody reads standard output any more: what is still buffered goes nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _shows_all_frames() -> bool:
    from volant import config

    try:
        return bool(config.load().values["traceback"])
    except errors.Error:
        return False


# -- tracebacks of user code


def _report_exception(error: BaseException) -> int:
    everything = _shows_all_frames()
    if not everything:
        users = _strip(error)
        if isinstance(error, errors.Error) and not users:
            print_service_error(error)
            return FAILED
        _explain(error)
    sys.excepthook(type(error), error, error.__traceback__)
    return FAILED


def _strip(error: BaseException) -> bool:
    """Take our frames out of an exception and its chain; False if no other frame is left.

    An exception that was raised by our code alone and is no `Error` is a bug of ours: it keeps
    its frames.
    """
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [link for link in (one.__cause__, one.__context__) if link is not None]
        waiting += _members(one)
        shown = _without_our_frames(one.__traceback__)
        if shown is not None or isinstance(one, (errors.Error, SyntaxError)):
            one.__traceback__ = shown
    return error.__traceback__ is not None


def _members(error: BaseException) -> list[BaseException]:
    """What a group of exceptions holds."""
    members = getattr(error, "exceptions", ())
    if not isinstance(members, tuple):
        return []
    return [one for one in members if isinstance(one, BaseException)]


def _without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback of the frames that are the user's, or code that the user's calls."""
    entries: list[TracebackType] = []
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        hidden = file.startswith((_OUR_PACKAGE, "<frozen importlib", "<frozen runpy"))
        # Above the user's first frame everything is ours: asyncio.run() of an async entrypoint.
        if not hidden and (entries or "asyncio" not in _parents(file)):
            entries.append(traceback)
        traceback = traceback.tb_next
    shown: TracebackType | None = None
    for entry in reversed(entries):
        shown = type(entry)(shown, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return shown


def _parents(file: str) -> list[str]:
    standard_library = os.path.dirname(os.__file__)
    if not file.startswith(standard_library):
        return []
    return file[len(standard_library) :].split(os.sep)[:-1]


def _ended_in_our_code(error: BaseException) -> bool:
    traceback, file = error.__traceback__, ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return file.startswith(_OUR_PACKAGE)


# -- what Python's own message does not say


def _explain(error: BaseException) -> None:
    """Add a hint to an exception whose cause is in how programs are run here."""
    hint = ""
    if isinstance(error, ImportError) and "relative import" in str(error):
        hint = "a file that is part of a package runs by its module path: `volant run -m pkg.mod`"
    elif not _comes_from_container(error):
        if isinstance(error, ModuleNotFoundError) and error.name and "." not in error.name:
            hint = (
                f"`{error.name}` is not installed here; what only images have is imported in "
                "`with image.imports():`, or in the function"
            )
    elif isinstance(error, ModuleNotFoundError) and error.name:
        hint = _about_module(error.name)
    elif isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        hint = _about_file(error.filename)
    notes = getattr(error, "__notes__", [])
    if hint and f"hint: {hint}" not in notes:
        vars(error)["__notes__"] = [*notes, f"hint: {hint}"]


def _comes_from_container(error: BaseException) -> bool:
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.startswith("<remote call in "):
            return True
        traceback = traceback.tb_next
    return False


def _about_module(name: str) -> str:
    """Why a container may lack a module, "" when nothing is known about that."""
    from importlib.machinery import PathFinder

    from volant.sdk.sources import is_local

    if "." in name:
        return ""  # its package is there, and has no such module
    spec = PathFinder.find_spec(name)
    if spec is None:
        return (
            f"`{name}` is not installed in the environment of this run, {sys.prefix}; a function "
            "with an image needs it there: `image.uv_pip_install(...)`"
        )
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    if not places or not is_local(os.path.join(places[0], "")):
        return f"the image lacks `{name}`, which is installed here: `image.uv_pip_install(...)`"
    return (
        f"{os.path.abspath(places[0])} was not sent, because no import statement names it; "
        f"with `import {name}` in the function it is"
    )


def _about_file(path: str) -> str:
    """Why a container may lack a file, "" when this machine has none of that name either."""
    program = os.path.dirname(os.path.abspath(sys.argv[0]))
    candidates = [path, os.path.join(program, path)]
    at = path.find("/root/")
    while at >= 0:  # in plain processes the root lies somewhere below the daemon's home
        candidates.append(os.path.join(program, path[at + len("/root/") :]))
        at = path.find("/root/", at + 1)
    for candidate in candidates:
        if os.path.exists(candidate):
            return (
                f"{os.path.abspath(candidate)} is on this machine, and containers get Python "
                "sources only: pass its content as an argument"
            )
    return ""
