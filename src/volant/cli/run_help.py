"""What `volant run` says about itself, and about a function that it could run."""

from __future__ import annotations

import inspect

from volant.cli.parameters import Options, command_reference
from volant.cli.shared.naming import as_typed, called

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.cli.run import RunOptions
    from volant.cli.target import Target

USAGE = """\
Usage: volant run [OPTIONS] REF [ARGUMENTS OF THE FUNCTION]

  Run a local entrypoint or a function of a program, and stop its app at the end.

  REF is `file.py`, `file.py::function`, `file.py::app.function`, with -m
  `pkg.mod` or `pkg.mod::function`, or `-` for a script from standard input,
  `-::function` for a function of it.
  Without a name it is the single local entrypoint, else the single function.

Options:
  -m, --module             REF is a module path instead of a file.
  -q, --quiet              Show no progress; output and errors are shown still.
  --verbose                Show all that steps of images print.
  -d, --detach             Leave calls that have not finished running at the end.
  -n, --name NAME          Name of the app, instead of the program's own.
  -w, --write-result FILE  Write the result, which must be str or bytes, to a file.
  --timestamps             Put the time in front of each line that containers print.
  --timings                Show at the end how long each phase of the calls took.
  -i, --interactive        Join the terminal to containers at `breakpoint()` and
                           `volant.interact()`.
  -e, --env NAME           The environment to run in, instead of the one that is set.
  -h, --help               Show this text; behind REF, the options of the function.

Examples:
  volant run hello.py
  volant run hello.py --x 12
  volant run hello.py::square --x 12
  volant run -m project.jobs.nightly --dry-run
"""


def without_target(options: RunOptions) -> int:
    """Serve a `volant run` that runs nothing: help, or a word that is missing."""
    from volant.cli.failures import Refused

    if options.help:
        print(as_typed(USAGE), end="")
        return 0
    raise Refused("there is nothing to run", hint="`volant run file.py`, or `volant run --help`")


def print_forms(forms: list[str]) -> None:
    """Show the functions of a program that has several."""
    typed = [as_typed(form) for form in forms]
    print(f"Usage: {typed[0].partition('::')[0]}::FUNCTION [OPTIONS]")
    print("\nFunctions:")
    for form in typed:
        print(f"  {form}")
    print(f"\nExample:\n  {typed[0]} --help")


def print_target(target: Target) -> None:
    """Show the options of a function."""
    options = Options(target.raw)
    reference = command_reference(target)
    words = [f"{called()} run", reference]
    words += ["[OPTIONS]"] if options.options else []
    words += ["[ARGUMENTS]..."] if options.takes_tail else []
    print("Usage:", *words)
    doc = inspect.getdoc(target.raw)
    if doc:
        print()
        for line in doc.splitlines():
            print(f"  {line}".rstrip())
    rows = [(option.form, _remark(option.required, option.parameter.default))
            for option in options.options]  # fmt: skip
    rows.append((", ".join(options.help_flags), "Show this text."))
    width = max(len(form) for form, _ in rows)
    print("\nOptions:")
    for form, remark in rows:
        print(f"  {form:<{width}}  {remark}".rstrip())
    samples = [option.sample for option in options.options if option.required]
    samples = samples or [option.sample for option in options.options[:1]]
    print("\nExample:")
    print(" ", *words[:2], *samples, *(["one", "two"] if options.takes_tail else []))


def _remark(required: bool, default: object) -> str:
    if required:
        return "[required]"
    return "" if default is None else f"[default: {default}]"
