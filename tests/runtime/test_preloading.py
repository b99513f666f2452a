"""Zygotes that have imported ahead what a program is expected to begin with."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.laboratory import IMPORT_WITHIN_S
from volantd.runtime.client import Prelude, UnfitError
from volantd.runtime.imports import answer_of

if TYPE_CHECKING:
    from tests.runtime.laboratory import Laboratory
    from volantd.runtime.client import Zygote

LOOK = """
import os, sys
result = [name in sys.modules for name in ("this", "colorsys")] + [os.environ["GIVEN"]]
"""


def _preload(
    lab: Laboratory, zygote: Zygote, *modules: str, late: tuple[str, ...] = ()
) -> list[str]:
    prelude = Prelude(modules=modules, web=(), env={"GIVEN": "before"}, late=late)
    culprits: list[str] = lab.run(zygote.preload(prelude, timeout_s=IMPORT_WITHIN_S))
    return culprits


def _prepare(lab: Laboratory, zygote: Zygote, text: str, *others: str) -> dict[str, Any]:
    files = [("app.py", 0o644, text.encode()), *((name, 0o644, b"") for name in others)]
    entry = {"source": text, "module": "app", "file": "app.py", "path": [""]}
    work = zygote.prepare(files, entry, {"GIVEN": "before"}, timeout_s=IMPORT_WITHIN_S)
    answer: dict[str, Any] = lab.run(work)
    return answer


def _printed(lab: Laboratory, zygote: Zygote) -> bytes:
    """What a zygote printed, after its end."""
    zygote.kill()
    lab.run(asyncio.wait_for(asyncio.shield(zygote.exited), IMPORT_WITHIN_S))
    found = os.read(zygote.log_fd, 1 << 16)
    os.close(zygote.log_fd)
    return found


def test_what_was_imported_ahead_is_there_and_has_printed_once(lab: Laboratory) -> None:
    zygote = lab.bare_zygote()
    assert _preload(lab, zygote, "this", "colorsys") == []
    answer = _prepare(lab, zygote, "import this, colorsys")
    assert (answer["threads"], answer["prelude"]) == ([], ("this", "colorsys"))
    container = lab.fork(zygote)
    assert container.ask(LOOK) == [True, True, "before"]
    container.end()
    assert _printed(lab, zygote).count(b"The Zen of Python") == 1


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("import colorsys", ()), ("import os; os.nice(0); import this", ()),
        ("import this", ["this.py"]),
    ],
    ids=["begins with others", "does something before", "is shadowed by a source"],
)  # fmt: skip
def test_a_program_that_does_not_fit_is_not_imported(
    lab: Laboratory, text: str, others: list[str]
) -> None:
    zygote = lab.bare_zygote()
    _preload(lab, zygote, "this")
    with pytest.raises(UnfitError):
        _prepare(lab, zygote, f"{text}; print('imported')", *others)
    os.set_blocking(zygote.log_fd, True)
    assert _printed(lab, zygote) == b""


def test_what_functions_begin_with_is_there_before_the_program(lab: Laboratory) -> None:
    zygote = lab.bare_zygote()
    _preload(lab, zygote, late=("colorsys",))
    answer = _prepare(lab, zygote, "def f(): import colorsys")
    assert answer["late"] == ("colorsys",)
    container = lab.fork(zygote)
    assert container.ask(LOOK) == [False, True, "before"]
    container.end()


@pytest.mark.parametrize(
    "text",
    [
        "def f(): pass", "def f(): import colorsys\ndef g():\n  f()\n  import colorsys",
        "import os; os.nice(0)\ndef f(): import colorsys",
    ],
    ids=["no function imports it", "one imports it late", "the program does something"],
)  # fmt: skip
def test_functions_that_do_not_begin_so_do_not_fit(lab: Laboratory, text: str) -> None:
    zygote = lab.bare_zygote()
    _preload(lab, zygote, late=("colorsys",))
    with pytest.raises(UnfitError):
        _prepare(lab, zygote, text)
    _printed_end(lab, zygote)


def test_a_module_that_is_not_there_is_named(lab: Laboratory) -> None:
    zygote = lab.bare_zygote()
    assert _preload(lab, zygote, "nothing") == ["`nothing` raised ModuleNotFoundError"]
    _printed_end(lab, zygote)


def _printed_end(lab: Laboratory, zygote: Zygote) -> None:
    os.set_blocking(zygote.log_fd, True)
    _printed(lab, zygote)


@pytest.mark.parametrize(
    "names", [5, [5], ["a b"], ["a."], [""], ["a" * 201], "json"], ids=repr
)  # fmt: skip
def test_names_that_are_none_are_refused(names: object) -> None:
    from volant.runner import control

    fields = {
        "import_us": 1, "threads": [], "asks": False, "culprits": [], "late": [], "refused": [],
        "is_whole": True, "prelude": [],
    }  # fmt: skip
    assert answer_of(control.READY, fields)["late"] == ()
    for name in ("prelude", "late"):
        with pytest.raises(TypeError):
            answer_of(control.READY, {**fields, name: names})
    with pytest.raises(TypeError):
        answer_of(control.READY, {**fields, "refused": ["a"]})
