"""Records the commands of a version of the package `modal` that is installed, as facts.

    <its environment>/bin/python compat/modal/record_commands.py tests/conformance/commands.json

Adds to the file: command -> the versions that have it, and its options. No text is kept. Hidden
commands and options are left out.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import click


def _walk(command: click.Command, path: str) -> dict[str, list[str]]:
    found = {}
    context = click.Context(command)
    names = command.list_commands(context) if isinstance(command, click.Group) else []
    if isinstance(command, click.Group) and names:  # one without lists its commands by a program
        for name in names:
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                found |= _walk(child, f"{path} {name}".strip())
        return found
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    taken = [name for one in options for name in (*one.opts, *one.secondary_opts)]
    return {path: sorted(taken)}


def main(path: Path) -> None:
    """Add what is installed here to a record."""
    warnings.simplefilter("ignore")
    package: Any = importlib.import_module("modal")
    entry: Any = importlib.import_module("modal.cli.entry_point")
    version = package.__version__.rpartition(".")[0]
    record = json.loads(path.read_text()) if path.exists() else {}
    for name, options in _walk(entry.entrypoint_cli, "").items():
        known = record.setdefault(name, {"versions": [], "options": []})
        known["versions"] = sorted({*known["versions"], version})
        known["options"] = sorted({*known["options"], *options})
    rows = [f"  {json.dumps(name)}: {json.dumps(record[name])}" for name in sorted(record)]
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
