"""What functions of a program begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from volant.runner.template import bodies

if TYPE_CHECKING:
    from pathlib import Path

#: Sources beside `main.py` -> what functions in that begin with, and what stands behind.
SOURCES = {
    "shop/__init__.py": "",
    "shop/web.py": "from . import models\nimport fastapi\n",
    "shop/models.py": "def load():\n  from .web import app\n  import sqlalchemy\n",
    "patching.py": "import gevent.monkey\ngevent.monkey.patch_all()\n",
}
PROGRAMS = {
    "import a\ndef f(): import b": ({"b"}, set()),
    "def f():\n  'words'\n  import b.c\n  from d import e": ({"b.c", "d", "d.e"}, set()),
    "async def f():\n  import b\n  await b.c()\n  import d": ({"b"}, {"d"}),
    "import os\ndef f():\n  os.environ['A'] = 'b'\n  import c": (set(), {"c"}),
    "import sys\ndef f():\n  sys.modules['a'] = sys.modules.pop('b')\n  import c": (set(), {"c"}),
    "def f():\n  import a\n  a.patch_all()\n  if a.b:\n    import c": ({"a"}, {"c"}),
    "def f(x, *y, z=1, **k):\n  x.a = y = z\n  k['a'] = 1\n  import b": ({"b"}, set()),
    "def f(x):\n  x.patch()\n  import b": (set(), {"b"}),
    "def f(x):\n  x()\n  import b": (set(), {"b"}),
    "def f(x):\n  if x: return 1\n  import b": ({"b"}, set()),
    "def f():\n  start = now()\n  print(start)\n  import b": ({"b"}, set()),
    "def f():\n  g()\n  import b\ndef g(): import c": ({"c"}, {"b"}),
    "def f():\n  def g():\n    import a\n  for x in y: pass\n  import b": ({"a"}, {"b"}),
    "class A:\n  def f(self):\n    self.x = 1\n    import b": ({"b"}, set()),
    "if x:\n  def f():\n    try: import a\n    except ImportError: import b": ({"a", "b"}, set()),
    "def f():\n  match x:\n    case 1: import a": (set(), {"a"}),
    "def f():\n  from shop import web\n  import a": ({"fastapi", "sqlalchemy", "a"}, set()),
    "def f():\n  import patching\n  import a": ({"gevent.monkey", "sqlalchemy"}, {"patching", "a"}),
    "def f(:": ({"sqlalchemy"}, set()),
}  # fmt: skip


@pytest.mark.parametrize("text", PROGRAMS)
def test_functions_begin_with_imports(tmp_path: Path, text: str) -> None:
    for name, content in {**SOURCES, "main.py": text}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    paths = [str(tmp_path / name) for name in ("main.py", "shop/models.py")]
    found = bodies.read(paths, [str(tmp_path)])
    first, behind = PROGRAMS[text]
    assert (found.first, found.behind) == (first | {"sqlalchemy", "fastapi"}, behind)


def test_what_is_imported_in_two_ways_cannot_be_moved(tmp_path: Path) -> None:
    path = tmp_path / "main.py"
    path.write_text("def f(): import a, b\ndef g():\n  f()\n  import b, c\n")
    assert bodies.read([str(path)], [str(tmp_path)]).movable() == {"a"}


@pytest.mark.parametrize(
    "text",
    ["def f(): import a\n" * (bodies.BODIES_MAX + 1), "def f(): import a\n#" + "x" * (256 << 10)],
    ids=["functions", "bytes"],
)
def test_of_a_program_that_is_too_large_nothing_is_known(tmp_path: Path, text: str) -> None:
    path = tmp_path / "main.py"
    path.write_text(text)
    assert bodies.read([str(path)], [str(tmp_path)]).first == set()
