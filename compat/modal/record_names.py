"""Records the public names of a version of the package `modal` that is installed, as facts.

    <its environment>/bin/python compat/modal/record_names.py tests/conformance/names.json

Adds to the file: module -> name -> the versions that have it, its parameters, and members of
classes with theirs. No text of the package is kept. What a module defines is its own: what it only
imports, machinery of it (below modules that begin with `_`) and type variables are left out.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import pkgutil
import sys
import warnings
from pathlib import Path
from typing import Any

import modal

#: Modules of the command and of building the package itself.
_NOT_FOR_PROGRAMS = ("builder", "cli", "skills")
#: Private modules that define what public ones give out.
_BEHIND = (
    "modal._billing", "modal._environments", "modal._outbound_policy",
    "modal._runtime.execution_context", "modal._server", "modal._tunnel", "modal.sandbox._sandbox",
)  # fmt: skip
_MACHINERY = ("TypeVar", "ParamSpec", "module")


def _is_public(module: str) -> bool:
    parts = module.split(".")
    return module in _BEHIND or (
        parts[0] == "modal" and not any(part.startswith("_") for part in parts)
    )


def _parameters(thing: object) -> list[str]:
    try:
        found = inspect.signature(thing).parameters  # type: ignore[arg-type]  # or it raises
    except (TypeError, ValueError):
        return []
    return [name for name in found if name not in {"self", "cls"} and not name.startswith("__")]


def _members(kind: type) -> dict[str, list[str]]:
    found = {}
    for name in dir(kind):
        if name.startswith("_") and not name.startswith("_experimental"):
            continue
        if any(name in vars(base) for base in (BaseException, object, str, int, tuple, dict)):
            continue
        member: Any = None
        with contextlib.suppress(Exception):
            member = getattr(kind, name)
        found[name] = _parameters(member) if callable(member) else []
    return found


def _names_of(module: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, thing in vars(module).items():
        owner = str(getattr(thing, "__module__", ""))
        if name.startswith("_") or type(thing).__name__ in _MACHINERY:
            continue
        everywhere = module.__name__ in {"modal", "modal.experimental"}
        is_own = owner == module.__name__ or owner in _BEHIND or everywhere
        if not is_own or not _is_public(owner):
            continue
        kind = isinstance(thing, type)
        is_error = kind and issubclass(thing, BaseException)
        found[name] = {
            "parameters": [] if is_error else _parameters(thing),
            "members": _members(thing) if kind and not is_error else {},
        }
    return found


def main(path: Path) -> None:
    """Add what is installed here to a record."""
    warnings.simplefilter("ignore")
    version = modal.__version__.rpartition(".")[0]
    record = json.loads(path.read_text()) if path.exists() else {}
    modules = ["modal", *(one.name for one in pkgutil.walk_packages(modal.__path__, "modal."))]
    for place in modules:
        parts = place.split(".")[1:]
        if any(part.startswith("_") or part in _NOT_FOR_PROGRAMS for part in parts):
            continue
        try:
            names = _names_of(importlib.import_module(place))
        except ImportError:  # it needs a package that is not there: the module is known at least
            names = {}
        known = record.setdefault(place, {"versions": [], "names": {}})
        known["versions"] = sorted({*known["versions"], version})
        for name, facts in names.items():
            entry = known["names"].setdefault(name, {"versions": []})
            # The newest version says what it takes; older parameters stay known.
            entry["versions"] = sorted({*entry["versions"], version})
            given = [*entry.get("parameters", []), *facts["parameters"]]
            entry["parameters"] = list(dict.fromkeys(given))
            members = entry.setdefault("members", {})
            for member, parameters in facts["members"].items():
                before = members.get(member, [])
                members[member] = list(dict.fromkeys([*before, *parameters]))
    lines = ["{"]
    for place in sorted(record):
        lines.append(
            f' {json.dumps(place)}: {{"versions": {json.dumps(record[place]["versions"])},'
        )
        names = record[place]["names"]
        rows = [f"   {json.dumps(one)}: {json.dumps(names[one])}" for one in sorted(names)]
        lines.append('  "names": {\n' + ",\n".join(rows) + "\n  }},")
    lines[-1] = lines[-1].rstrip(",")
    path.write_text("\n".join([*lines, "}"]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
