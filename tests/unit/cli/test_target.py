"""What a reference means (behaviours 126, 127, 132 and 133)."""

from __future__ import annotations

import inspect
import os
import sys
from typing import TYPE_CHECKING

import pytest

from volant.cli import target
from volant.cli.failures import Refused
from volant.cli.parameters import command_reference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE = """
import volant
app = volant.App("one")
@app.function()
def f(): pass
"""
ENTRY = (
    ONE
    + """
@app.function()
def g(): pass
@app.local_entrypoint()
def main(): pass
"""
)
TWO = (
    ONE
    + """
other = volant.App("two")
@other.function(name="renamed")
def g(): pass
class Plain:
    def method(self): pass
"""
)


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith("volant."):
            del sys.modules[name]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _refusal(reference: str, *, as_module: bool = False) -> tuple[str, int]:
    with pytest.raises(Refused) as refused:
        target.find(reference, as_module=as_module)
    error = refused.value
    return "\n".join([str(error), *error.hints]), error.exit_code


@pytest.mark.parametrize(
    ("source", "reference", "name", "app"),
    [
        (ONE, "p.py", "f", "one"),
        (ENTRY, "p.py", "main", "one"),
        (ENTRY, "p.py::g", "g", "one"),
        (ENTRY, "p.py::app.g", "g", "one"),
        (ENTRY, "p.py::app", "main", "one"),
        (TWO, "p.py::f", "f", "one"),
        (TWO, "p.py::g", "renamed", "two"),
        (TWO, "p.py::renamed", "renamed", "two"),
        (TWO, "p.py::other.renamed", "renamed", "two"),
        (TWO, "p.py::other", "renamed", "two"),
    ],
)
def test_a_reference_picks_its_target(
    tmp_path: Path, source: str, reference: str, name: str, app: str
) -> None:
    """Behaviour 126."""
    _write(tmp_path / "p.py", source)
    found = target.find(reference, as_module=False)
    assert (found.name, found.app.name) == (name, app)


@pytest.mark.parametrize(
    ("source", "reference", "expected"),
    [
        (TWO, "p.py", "`p.py` has several functions and no single local entrypoint"),
        (TWO, "p.py", "    volant run p.py::app.f\n    volant run p.py::other.renamed"),
        (TWO, "p.py::ff", "there is no function `ff` in `p.py`"),
        (TWO, "p.py::renamd", "did you mean `other.renamed`?"),
        (ENTRY, "p.py::mian", "did you mean `main`?"),
        (ENTRY, "p.py::nothing", "name one of them:\n    volant run p.py::main\n"),
        ("x = 1", "p.py", "`p.py` has no app"),
        ("import volant; app = volant.App()", "p.py", "`p.py` has no function to run"),
    ],
)
def test_what_does_not_fit_is_answered_with_the_candidates(
    tmp_path: Path, source: str, reference: str, expected: str
) -> None:
    """Behaviour 126: the exit code is 1."""
    _write(tmp_path / "p.py", source)
    text, code = _refusal(reference)
    assert expected in text
    assert code == 1


def test_a_good_guess_is_not_buried_in_a_list(tmp_path: Path) -> None:
    _write(tmp_path / "p.py", ENTRY)
    text, _ = _refusal("p.py::mian")
    assert text.splitlines()[1:] == ["did you mean `main`?"]


CLASS = """
import volant
app = volant.App("one")
@app.cls()
class Counter:
    start: int = volant.parameter(default=1)
    @volant.method()
    def add(self, by: int = 1): return self.start + by
"""


@pytest.mark.parametrize("reference", ["p.py", "p.py::Counter.add", "p.py::app.Counter.add"])
def test_a_method_is_a_target(tmp_path: Path, reference: str) -> None:
    """Behaviour 126: `FILE::Class.method`; the only method need not be named."""
    _write(tmp_path / "p.py", CLASS)
    found = target.find(reference, as_module=False)
    assert found.name == "Counter.add"
    assert [str(one) for one in inspect.signature(found.raw).parameters] == ["by", "start"]


def test_a_class_by_itself_is_none_and_its_methods_are_named(tmp_path: Path) -> None:
    more = "    @volant.method()\n    def total(self): return self.start\n"
    _write(tmp_path / "p.py", CLASS + more)
    text, _ = _refusal("p.py::Counter")
    assert text.splitlines()[1:] == ["did you mean `Counter.add` or `Counter.total`?"]


def test_a_parameter_that_would_mean_two_things_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "p.py", CLASS.replace("by: int", "start: int").replace("+ by", "+ start"))
    with pytest.raises(Refused, match="`start` is a parameter of `Counter` and of its method"):
        target.find("p.py::Counter.add", as_module=False)


def test_functions_of_an_included_app_run_with_the_app_that_includes(tmp_path: Path) -> None:
    _write(tmp_path / "part.py", ONE)
    _write(
        tmp_path / "p.py",
        "import volant, part\nwhole = volant.App('whole').include(part.app)\nf = part.f\n",
    )
    assert target.find("p.py::f", as_module=False).app.name == "whole"


@pytest.mark.parametrize("reference", ["pkg.mod", "pkg", "mod"])
def test_a_module_path_shows_the_switch(tmp_path: Path, reference: str) -> None:
    """Behaviour 127."""
    _write(tmp_path / "pkg/__init__.py", "")
    _write(tmp_path / "pkg/mod.py", ONE)
    _write(tmp_path / "mod.py", ONE)
    text, code = _refusal(reference)
    assert f"`volant run -m {reference}`" in text
    assert code == 2


def test_a_module_is_imported_by_name_with_its_relative_imports(tmp_path: Path) -> None:
    """Behaviour 133: directories may start with a digit or hold a hyphen."""
    _write(tmp_path / "1st/a-b/c.py", "from .d import app, f")
    _write(tmp_path / "1st/a-b/d.py", ONE)
    found = target.find("1st.a-b.c::f", as_module=True)
    assert found.label == "-m 1st.a-b.c"
    assert found.raw.__module__ == "1st.a-b.d"


def test_a_missing_import_of_the_module_is_not_taken_for_a_missing_module(tmp_path: Path) -> None:
    _write(tmp_path / "pkg/__init__.py", "")
    _write(tmp_path / "pkg/mod.py", "import missing_here")
    with pytest.raises(ModuleNotFoundError, match="missing_here"):
        target.find("pkg.mod", as_module=True)
    assert "there is no module `pkg.other`" in _refusal("pkg.other", as_module=True)[0]
    assert "`pkg/mod.py` is a file" in _refusal("pkg/mod.py", as_module=True)[0]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("scirpt.py", "there is no file `scirpt.py`\ndid you mean `script.py`?"),
        ("sub/scrip.py", "did you mean `sub/script.py`?"),
        ("script.py:f", "named behind two colons: `volant run script.py::f`"),
        ("none/x.py", "there is no directory `none`"),
        ("sub", "`sub` is a directory"),
        ("notes.txt", "`notes.txt` is not a Python source file"),
    ],
)
def test_a_path_that_is_no_program_says_why(tmp_path: Path, reference: str, expected: str) -> None:
    for name in ("script.py", "sub/script.py", "notes.txt"):
        _write(tmp_path / name, ONE)
    text, code = _refusal(reference)
    assert expected in text
    assert code == 2


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("my-script.py", "my-script"),
        ("1st.py", "1st"),
        ("a.b.py", "a_b"),
        ("json.py", "volant_script_json"),
        ("volant.py", "volant_script_volant"),
    ],
)
def test_a_script_is_loaded_under_its_stem(tmp_path: Path, file: str, module: str) -> None:
    """Behaviours 132 and 133; a stem that means another module would hide it."""
    _write(tmp_path / "dir" / file, ONE)
    found = target.find(f"dir/{file}", as_module=False)
    assert found.raw.__module__ == module
    assert sys.path[0] == str(tmp_path / "dir")


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("", True),
        ("x=1, *, y=2", True),
        ("*args", True),
        ("x", False),
        ("x, y=1", False),
        ("*, x", False),
        ("**kwargs", False),
    ],
)
def test_a_call_without_arguments_is_known_from_the_code(
    tmp_path: Path, signature: str, expected: bool
) -> None:
    source = f"import volant\napp = volant.App()\n@app.function()\ndef f({signature}): pass\n"
    _write(tmp_path / "p.py", source)
    assert target.find("p.py", as_module=False).needs_no_arguments is expected


def test_help_names_a_target_the_way_it_was_named(tmp_path: Path) -> None:
    _write(tmp_path / "entry.py", ENTRY)
    assert command_reference(target.find("entry.py", as_module=False)) == "entry.py"
    assert command_reference(target.find("entry.py::main", as_module=False)) == "entry.py::main"
    assert command_reference(target.find("entry.py::g", as_module=False)) == "entry.py::g"
    _write(tmp_path / "one.py", ONE)
    assert command_reference(target.find("one.py", as_module=False)) == "one.py::f"


def test_the_directory_of_a_package_is_called_by_its_module_path(tmp_path: Path) -> None:
    _write(tmp_path / "shop" / "deep" / "__init__.py", "")
    with pytest.raises(Refused) as caught:
        target.find("shop/deep/", as_module=False)
    assert caught.value.hints == ["`volant run -m shop.deep` runs a module"]


def test_a_script_that_is_saved_twice_within_a_second_is_read_again(tmp_path: Path) -> None:
    """Byte code that Python keeps is told from its source by size and whole seconds."""
    for value in ("1", "2"):
        _write(tmp_path / "p.py", f"{ONE}\nvalue = {value}\n")
        os.utime(tmp_path / "p.py", (1_700_000_000, 1_700_000_000))
        found = target.find("p.py", as_module=False)
        assert sys.modules[found.raw.__module__].value == int(value)
        del sys.modules[found.raw.__module__]
    assert not (tmp_path / "__pycache__").exists()
