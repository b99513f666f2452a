"""Imports that containers of a function did late, done in its template, before the first fork.

    program imported ─► name ─┬─ no function begins with it: left out
                              ├─ raises, prints, leaves threads or connections: of no use
                              └─ imported, once for all containers

A container has said that it imported these after it was forked. What it says is only heeded as far
as the program's own sources say the same: that a function begins with such an import.
"""

from __future__ import annotations

import os
import sys

from volant.runner import linux
from volant.runner.template import preloading, unforkable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from volant.runner.template.preloading import Program


def take(names: list[str], program: Program, web: Sequence[str]) -> dict[str, Any]:
    """Import what functions of a program begin with, behind the program itself.

    Args:
        names: what was imported late, in that order.
        program: that has been imported.
        web: kinds of functions for which what serves them is imported, as it may need more now.

    Returns:
        `late`, the names that were imported; and `refused`, a name and why its import must be left
        to containers, or nothing. With one that is refused this process is of no use.
    """
    movable = program.bodies().movable()
    wanted = [name for name in names if name in movable and name not in sys.modules]
    late: list[str] = []
    output = preloading.HeldOutput()
    before, children = unforkable.descriptors(), set(linux.children())
    try:
        for name in wanted:
            directory, places = os.getcwd(), list(sys.path)
            try:
                __import__(name)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # any package's own code
                return _refused(name, f"it raises {type(error).__name__}")
            why = unforkable.culprits(before, children)
            if not output.is_empty:
                why.append("text that it prints")  # each container shows it where it belongs
            if directory != os.getcwd():
                why.append("another directory")
            if places != sys.path:
                why.append("other places of modules")
            if why:
                return _refused(name, ", ".join(why))
            late.append(name)
    finally:
        output.drop()
    if late and web:
        from volant.runner.web import ahead

        ahead.import_for(list(web))
    return {"late": late, "refused": []}


def _refused(name: str, why: str) -> dict[str, Any]:
    return {"late": [], "refused": [name, why]}
