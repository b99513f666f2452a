"""Writes the pages below docs/reference that are made from the code.

python docs/generate.py            write them
python docs/generate.py --check    exit 1 and say which are out of date
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.conformance import page
from volant import _late_errors, config, errors
from volant.cli.commands.root import root
from volant.cli.run_help import USAGE
from volant.wire import frames

REFERENCE = Path(__file__).parent / "reference"
NOTICE = "<!-- made by docs/generate.py: change the code instead, then run scripts/docs -->\n\n"


def _children() -> dict[type, list[type[BaseException]]]:
    """Direct subclasses among our own classes, by name."""
    ours = {
        kind
        for kind in [*vars(errors).values(), *vars(_late_errors).values()]
        if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    found: dict[type, list[type[BaseException]]] = {}
    for kind in sorted(ours, key=lambda kind: kind.__name__):
        found.setdefault(kind.__bases__[0], []).append(kind)
    return found


def _sentences(kind: type) -> tuple[str, str]:
    """When it is raised and what to do, from the docstring."""
    words = " ".join((kind.__doc__ or "").split())
    when, _, what = words.partition(". ")
    return when.removesuffix("."), what


def errors_page() -> str:
    """The tree of errors as one table, and the warnings as another."""
    children = _children()
    rows = ["| class | code | retryable | raised when | what to do |", "|---|---|---|---|---|"]

    def walk(kind: type[BaseException], depth: int) -> None:
        when, what = _sentences(kind)
        indent = "&nbsp;&nbsp;" * depth
        retryable = "yes" if kind.retryable else ""
        rows.append(f"| {indent}`{kind.__name__}` | {kind.code} | {retryable} | {when} | {what} |")
        for child in children.get(kind, []):
            walk(child, depth + 1)

    walk(errors.Error, 0)
    walk(errors.InputCancellation, 0)
    warnings = ["| warning | issued when | what to do |", "|---|---|---|"]
    for kind in children[UserWarning]:
        when, what = _sentences(kind)
        warnings.append(f"| `{kind.__name__}` | {when} | {what} |")
    return "\n".join(
        [
            "# Errors",
            "",
            f"{NOTICE}All are in `volant.errors`. Indentation shows inheritance:",
            "`except volant.Error` catches every failure of Volant and none of your own function,",
            "which is raised as its own type. Every error has `message`, `hint`, `code` and",
            "`retryable`; a retryable one may pass when the same request is made again. Codes are",
            "forever.",
            "",
            "`TimeoutError` and `ConnectionError` are also Python's builtins of these names.",
            "`InputCancellation` is a `BaseException`, so that `except Exception` lets it pass.",
            "",
            *rows,
            "",
            "## Warnings",
            "",
            *warnings,
            "",
        ]
    )


def config_page() -> str:
    """All settings, their defaults and meaning."""
    rows = ["| setting | variable | default | kind | meaning |", "|---|---|---|---|---|"]
    for name, (default, kind, meaning) in config.SETTINGS.items():
        rows.append(f"| `{name}` | `VOLANT_{name.upper()}` | `{default}` | {kind} | {meaning} |")
    return "\n".join(
        [
            "# Settings",
            "",
            f"{NOTICE}A flag wins over an environment variable, that over the file `config.toml`",
            "in Volant's home, and that over the default. An unknown name in either is an error.",
            "`volant config show` prints each value in force and where it came from.",
            "",
            *rows,
            "",
        ]
    )


def help_texts() -> dict[str, str]:
    """Command -> what its `--help` says, in a terminal of 80 columns."""
    texts: dict[str, str] = {}

    def walk(command: click.Command, path: str, parent: click.Context | None) -> None:
        context = click.Context(command, info_name=path.rsplit(maxsplit=1)[-1], parent=parent,
                                terminal_width=80, **command.context_settings)  # fmt: skip
        texts[path] = USAGE.rstrip() if path == "volant run" else context.get_help()
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(child, f"{path} {name}", context)

    walk(root, "volant", None)
    return texts


def cli_page() -> str:
    """What every command says about itself."""
    parts = [
        "# Command",
        "",
        f"{NOTICE}Exit codes: 0 well, 1 the program failed (its own `SystemExit` code is kept) or",
        "has nothing of that name to run, 2 wrong usage, 3 the service failed, 130 interrupted.",
        "Commands that read take `--json` and never start a daemon. Without `--json`, what is data",
        "goes to standard output, and what is said about it to standard error. `volant` and its",
        "groups without a command show their help there, with exit code 2.",
        "",
    ]
    for path, text in help_texts().items():
        parts += [f"## {path}", "", "```text", text, "```", ""]
    return "\n".join(parts)


def wire_page() -> str:
    """The layout of frames, and every number in them with its meaning."""
    source = Path(frames.__file__).read_text()
    title, _, layout = (frames.__doc__ or "").partition("\n\n")
    picture, _, words = layout.partition("\n\n")
    parts = [
        "# Wire",
        "",
        f"{NOTICE}{title}",
        "Client and daemon speak it over a unix socket, daemon and container over an inherited",
        "one. It may change with every version: peers that differ do not talk.",
        "",
        *("```text", *(line[4:] for line in picture.splitlines()), "```"),
        "",
        words.strip().replace("\n`", "\n- `").replace("`", "- `", 1),
        "",
        "## Limits",
        "",
        *("| name | value | meaning |", "|---|---|---|"),
    ]
    for meaning, name in re.findall(r"^#: (.+)\n([A-Z_]+) = ", source, re.MULTILINE):
        parts.append(f"| `{name}` | {getattr(frames, name):,} | {meaning} |")
    for heading, start in (("Types", "# Frame types"), ("Flags", "# Flags"), ("Items", "# Kinds")):
        section = source.partition(start)[2].partition("\n\n")[0]
        parts += ["", f"## {heading}", "", "| number | name | meaning |", "|---|---|---|"]
        for names, meaning in re.findall(r"^([A-Z_, ]+) = .*?(?:#: (.*))?$", section, re.MULTILINE):
            for name in names.split(", "):
                told = meaning or ("items, see above" if name in words else "a msgpack map")
                parts.append(f"| {getattr(frames, name)} | `{name}` | {told} |")
    return "\n".join([*parts, ""])


def conformance_page() -> str:
    """What names there are, and which tests; how these ended, the last run has written there."""
    said = page.PAGE.read_text() if page.PAGE.exists() else ""
    return page.rendered(page.states_on(said))


PAGES = {
    "conformance.md": conformance_page,
    "errors.md": errors_page,
    "config.md": config_page,
    "cli.md": cli_page,
    "wire.md": wire_page,
}


def main(arguments: list[str]) -> int:
    """Write or check all pages."""
    stale = []
    for name, make in PAGES.items():
        path, text = REFERENCE / name, make()
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            REFERENCE.mkdir(exist_ok=True)
            path.write_text(text)
    if stale and "--check" in arguments:
        print(f"out of date, run scripts/docs: {', '.join(stale)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
