"""Templates that import, behind the program, what containers of a function import late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.laboratory import IMPORT_WITHIN_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.laboratory import Laboratory
    from volantd.runtime.client import Zygote

#: Packages that are installed -> why their import is left to containers.
REFUSED = {
    "raises": ("raise SystemExit('no')", "it raises SystemExit"),
    "prints": ("print('hello')", "text that it prints"),
    "threads": ("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, "
                "name='poller').start()", "thread `poller`"),
    "connects": ("import socket\npair = socket.socketpair()", "a connection"),
    "forks": ("import os\nif not os.fork():\n  os.read(os.pipe()[0], 1)", "child process"),
    "moves": ("import os\nos.chdir('/')", "another directory"),
    "finds": ("import sys\nsys.path.append('/nowhere')", "other places of modules"),
}  # fmt: skip
PROGRAM = """
import sys
sys.path.append({place!r})
def begins(): import quiet, {name}, twice
def another():
    print.__self__
    import behind, twice
"""


@pytest.fixture
def packages(lab: Laboratory) -> Path:
    place = lab.place / "packages"
    place.mkdir(exist_ok=True)
    for name, (content, _) in REFUSED.items():
        (place / f"{name}.py").write_text(content)
    for name in ("quiet", "behind", "loud", "twice"):
        (place / f"{name}.py").write_text("")
    return place


def _prepare(
    lab: Laboratory, packages: Path, late: list[str], name: str = "loud"
) -> tuple[Zygote, dict[str, Any]]:
    zygote = lab.bare_zygote(trees=(*lab.trees(), str(packages)))
    text = PROGRAM.format(place=str(packages), name=name)
    entry = {"source": text, "module": "app", "file": "app.py", "path": [""]}
    files = [("app.py", 0o644, text.encode())]
    work = zygote.prepare(files, entry, {}, timeout_s=IMPORT_WITHIN_S, late=late)
    return zygote, lab.run(work)


def test_what_a_function_begins_with_is_imported_before_the_fork(
    lab: Laboratory, packages: Path
) -> None:
    zygote, answer = _prepare(lab, packages, ["loud", "behind", "twice", "not_there", "json.tool"])
    assert (answer["late"], answer["refused"]) == (("loud",), []), "`twice` is imported later, too"
    container = lab.fork(zygote)
    look = "import sys; result = [n in sys.modules for n in ('loud', 'behind', 'twice')]"
    assert container.ask(look) == [True, False, False]
    container.end()


@pytest.mark.parametrize("name", REFUSED)
def test_an_import_that_containers_cannot_share_is_refused(
    lab: Laboratory, packages: Path, name: str
) -> None:
    zygote, answer = _prepare(lab, packages, ["quiet", name], name)
    assert answer["late"] == ()
    [refused, why] = answer["refused"]
    assert refused == name
    assert why.startswith(REFUSED[name][1])
    zygote.kill()
