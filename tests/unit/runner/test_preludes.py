"""What a program begins with, and processes that have imported it ahead."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from volant.runner.template import prelude

if TYPE_CHECKING:
    from pathlib import Path

#: Sources beside `main.py` -> what `main.py` is, what it begins with, and whether that is all.
SOURCES = {
    "shop/__init__.py": "import zlib\n",
    "shop/web.py": "from . import models\nimport fastapi\n",
    "shop/models.py": "import sqlalchemy\n",
    "patching.py": "import gevent.monkey\ngevent.monkey.patch_all()\n",
    "broken.py": "def half(\n",
    "plugins/one.py": "",
    "command": "#!/usr/bin/env python3",
}
PROGRAMS = {
    "import a, b.c as d": (["a", "b.c"], True),
    "from a import b\nfrom c import *": (["a", "a.b", "c"], True),
    "from __future__ import annotations\n'words'\nimport a": (["a"], True),
    "import shop.web\nimport a": (["zlib", "sqlalchemy", "fastapi", "a"], True),
    "from shop import models, Thing\nimport a": (["zlib", "sqlalchemy", "a"], True),
    "import plugins.one\nimport a": (["a"], True),
    "import a\nimport patching\nimport b": (["a", "gevent.monkey"], False),
    "import a\nimport broken\nimport b": (["a"], False),
    "import os\nos.environ['A'] = 'b'\nimport a": (["os"], False),
    "import sys\nsys.modules['a'] = sys.modules.pop('b')\nimport a": (["sys"], False),
    "import sys\nsys.path += ['b']\nimport a": (["sys"], False),
    "import sys\nsys.path.insert(0, 'lib')\nimport a": (["sys"], False),
    "from dotenv import load_dotenv\nload_dotenv()\nimport a": (
        ["dotenv", "dotenv.load_dotenv"], False,
    ),
    "import a\nimport sys\ndel sys.modules['a']\nimport b": (["a", "sys"], False),
    "import a\nfor b in a.all(): b()\nimport c": (["a"], False),
    "import a\nwith a.settings(): import b": (["a"], False),
    "import a\napp = a.App()\n\n@app.get\ndef f(): import b\n\nimport c": (["a", "c"], True),
    "import a\nweb = a.App()\nweb.include(a.router)\nweb.state.b = 1\nimport c": (["a", "c"], True),
    "import a\nimage = a.Image()\nwith image.imports(): import b": (["a", "b"], True),
    "try:\n  import a\nexcept ImportError:\n  import b\nelse:\n  c = 1": (["a", "b"], True),
    "try:\n  import a\nfinally:\n  a.set_up()\nimport b": (["a"], False),
    "if a: import b\nelse: import c": (["b", "c"], True),
    "if __name__ == '__main__':\n  import a; a.run()": ([], True),
    "print('hello')\nimport a": (["a"], True),
    "class A:\n  import b\nimport c": (["c"], True),
    "x, [y, z] = 1, [2, 3]\nx.real = y[0] = 1\nx += 1\nimport a": (["a"], True),
    "from . import a\nimport b": ([], False),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize("text", PROGRAMS)
def test_a_prelude_is_what_is_imported_before_anything_is_done(place: Path, text: str) -> None:
    (place / "main.py").write_text(text)
    found = prelude.read(str(place / "main.py"), [str(place)], is_file=True)
    assert (found.names, found.is_whole) == PROGRAMS[text]


def test_a_program_may_be_a_module_of_a_package(place: Path) -> None:
    found = prelude.read("shop.web", [str(place)], is_file=False)
    assert (found.names, found.is_whole) == (["zlib", "sqlalchemy", "fastapi"], True)


def test_what_lies_in_any_directory_of_sources_is_no_part_of_it(place: Path) -> None:
    (place / "main.py").write_text("import shop.models")
    found = prelude.read(str(place / "main.py"), ["/nowhere", str(place)], is_file=True)
    assert found.names == ["zlib", "sqlalchemy"]


def test_more_than_its_limits_is_not_read(place: Path) -> None:
    (place / "main.py").write_text("import a\n" + "#" * prelude.BYTES_MAX)
    assert prelude.read(str(place / "main.py"), [], is_file=True).names == []
    many = "".join(f"import a{number}\n" for number in range(prelude.NAMES_MAX + 1))
    (place / "main.py").write_text(many)
    found = prelude.read(str(place / "main.py"), [], is_file=True)
    assert (len(found.names), found.is_whole) == (prelude.NAMES_MAX, False)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["json"], False),
        (["shop"], True),
        (["patching.a"], True),
        (["command"], False),
        ([], False),
    ],
)
def test_sources_that_are_called_like_a_module_shadow_it(
    place: Path, names: list[str], wanted: bool
) -> None:
    assert prelude.is_shadowed(names, ["/nowhere", str(place)]) is wanted


#: Modules that are imported ahead.
INSTALLED = {
    "quiet.py": "import os; FOUND = os.environ.get('SET')",
    "loud.py": "import sys; print('loud'); print('louder', file=sys.stderr)",
    "threaded.py": "import threading\n"
    "threading.Thread(target=threading.Event().wait, name='poller', daemon=True).start()",
    "failing.py": "raise OSError",
    "leaving.py": "raise SystemExit(3)",
    "changing.py": "import os; os.environ['CHANGED'] = 'yes'",
}
RUN = """
import sys
from volant.runner.template import preloading
sys.path.append({installed!r})
program = preloading.Program({main!r}, [{root!r}], lambda path: path.startswith({root!r}),
                             is_file=True)
one = preloading.Preloading()
"""


@pytest.fixture
def run(tmp_path: Path):
    """Runs code with `one`, a Preloading, and `program`, which is `main`; gives what it prints."""
    (tmp_path / "installed").mkdir()
    (tmp_path / "root").mkdir()
    for name, text in INSTALLED.items():
        (tmp_path / "installed" / name).write_text(text)

    def run_code(main: str, code: str) -> str:
        root = tmp_path / "root"
        (root / "main.py").write_text(main)
        names = {"installed": str(tmp_path / "installed"), "root": str(root)}
        text = RUN.format(**names, main=str(root / "main.py")) + code
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    run_code.root = tmp_path / "root"  # type: ignore[attr-defined]
    return run_code


FITS = "assert one.load(['quiet']) == []; print(one.fits(program))"


@pytest.mark.parametrize(
    ("main", "wanted"),
    [
        ("import quiet", "True"),
        ("import other; import quiet", "True"),
        ("import other", "False"),
        ("import os; os.environ['SET'] = '1'; import quiet", "False"),
    ],
)
def test_it_fits_a_program_that_begins_with_the_same(run, main: str, wanted: str) -> None:
    assert run(main, FITS).strip() == wanted


def test_a_source_called_like_a_module_that_was_imported_does_not_fit(run) -> None:
    (run.root / "quiet.py").write_text("")
    assert run("import quiet", FITS).strip() == "False"


def test_what_serves_the_web_fits_only_where_nothing_is_done_before_it(run) -> None:
    code = "one.load(['quiet'], ['server']); print(one.fits(program))"
    assert run("import quiet", code).strip() == "True"
    assert run("import quiet\nquiet.patch()", code).strip() == "False"


def test_what_is_printed_comes_once_and_only_when_it_fits(run) -> None:
    code = "one.load(['loud']); print('first', flush=True); one.fits(program); import loud"
    assert sorted(run("import loud", code).split()) == ["first", "loud", "louder"]
    assert run("import loud", code).startswith("first")
    assert run("import other", code).split() == ["first"]


@pytest.mark.parametrize(
    ("name", "culprit"),
    [
        ("threaded", "thread `poller` of `threaded`"),
        ("failing", "`failing` raised OSError"),
        ("leaving", "`leaving` raised SystemExit"),
        ("missing", "`missing` raised ModuleNotFoundError"),
    ],
)
def test_what_spoils_a_process_is_named(run, name: str, culprit: str) -> None:
    assert run("", f"print(one.load(['quiet', {name!r}, 'loud']))").strip() == f"[{culprit!r}]"


LEARN = "one.begin(); import main; print(one.learn(program, {took_us}))"


@pytest.mark.parametrize(
    ("main", "wanted"),
    [
        ("import quiet, beside, sys", ["quiet"]),
        ("import quiet\ntry:\n  import failing\nexcept OSError: pass", ["quiet"]),
        ("import quiet, changing", None),
        ("import quiet, os; os.environ['A'] = 'b'", None),
    ],
)
def test_of_a_program_its_installed_modules_are_learnt(
    run, main: str, wanted: list[str] | None
) -> None:
    (run.root / "beside.py").write_text("")
    code = f"sys.path.insert(0, {str(run.root)!r}); "
    printed = run(main, code + LEARN.format(took_us=1 << 30))
    assert printed.strip() == str({"prelude": wanted, "is_whole": wanted is not None})


def test_nothing_is_learnt_of_a_program_that_is_quick(run) -> None:
    code = f"sys.path.insert(0, {str(run.root)!r}); " + LEARN.format(took_us=100)
    assert "None" in run("import quiet", code)
    assert "['quiet']" in run("import quiet", f"one.load(['quiet']); {code}")
