"""Sources: what travels to containers, when, and where it lies there."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.apps import defining
from tests.behaviours.programs import Program, ask, run_program
from tests.support import daemon_pid
from volant.sdk.running import RunningApp

if TYPE_CHECKING:
    from pathlib import Path


def write(directory: Path, files: dict[str, str]) -> None:
    """Write Python files, named without their ending."""
    for name, text in files.items():
        path = directory / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


MAIN = """
    import volant

    app = volant.App("sources")

    {body}

    if __name__ == "__main__":
        with app.run():
            print(remote.remote())
"""


def main_program(body: str) -> str:
    """A program that prints what its function `remote` returns."""
    return dedent(MAIN).format(body=dedent(body))


def output(home: Path, *words: object) -> str:
    return run_program(*words, home=home).stdout.rstrip("\n")


def test_a_second_run_uploads_nothing(volant_home: Path) -> None:
    """Issue 2, 6: the hub asks for no file that it has."""
    with defining.app.run():
        pass
    description = RunningApp(defining.app, None, False)._describe()
    assert description["files"]
    assert ask(volant_home, "app_open", app=description)["need"] == []


def test_an_edit_is_seen_by_the_next_run(volant_home: Path, tmp_path: Path) -> None:
    """Issue 2, 6: of the program and of what it imports; the daemon stays the same."""
    body = """
    import part

    @app.function()
    def remote():
        return "{0}", part.VALUE
    """
    write(tmp_path, {"program": main_program(body.format("one")), "part": "VALUE = 1"})
    assert output(volant_home, tmp_path / "program.py") == "('one', 1)"
    before = daemon_pid(volant_home)
    write(tmp_path, {"part": "VALUE = 1 + 1"})
    assert output(volant_home, tmp_path / "program.py") == "('one', 2)"
    write(tmp_path, {"program": main_program(body.format("another"))})
    assert output(volant_home, tmp_path / "program.py") == "('another', 2)"
    assert daemon_pid(volant_home) == before


def test_modules_imported_by_functions_travel(volant_home: Path, tmp_path: Path) -> None:
    """Issue 2, 6: although nothing has imported them here; also those that these import."""
    body = """
    @app.function()
    def remote():
        import late, namespace.inner as inner
        from regular.inner import NAME
        return late.VALUE, NAME, inner.NAME
    """
    files = {
        "program": main_program(body),
        "late": "def load():\n    import later\n    return later.VALUE\nVALUE = load()",
        "later": "VALUE = 'later'",
        "regular/__init__": "",
        "regular/inner": "NAME = __name__",
        "namespace/inner": "NAME = __name__",
    }
    write(tmp_path, files)
    expected = "('later', 'regular.inner', 'namespace.inner')"
    assert output(volant_home, tmp_path / "program.py") == expected


LATE_IMPORTS = {
    "behind a colon": "def load(): import late; return late.VALUE",
    "behind a semicolon": "def load():\n    import json; import late; return late.VALUE",
    "behind an if": "def load():\n    if True: import late\n    return late.VALUE",
    "in a try": "def load():\n    try: import late\n    except: return None\n    return late.VALUE",
    "on a second line": "def load():\n    import json, \\\n        late\n    return late.VALUE",
    "by what is imported": "def load():\n    import top\n    return top.late.VALUE",
    "by a package": "def load():\n    import package.part\n    return package.part.late.VALUE",
    "of a namespace": "def load():\n    from space.deep import part\n    return part.VALUE",
    "in a class": "class Load:\n    import late\ndef load(): return Load.late.VALUE",
    "behind a relative path": "def load():\n    import beside\n    return beside.VALUE",
}


@pytest.mark.parametrize("how", LATE_IMPORTS)
def test_imports_inside_functions_are_found_however_they_are_written(
    volant_home: Path, tmp_path: Path, how: str
) -> None:
    """Issue 6: what Python would find in the sources, along the whole search path."""
    function = """
@app.function()
def remote():
    return load()
"""
    head = "import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), 'library'))\n"
    write(tmp_path, {"late": "VALUE = 'found'", "top": "import late"})
    write(tmp_path, {"package/__init__": "", "package/part": "import late"})
    write(tmp_path, {"space/deep/part": "VALUE = 'found'", "library/beside": "VALUE = 'found'"})
    (tmp_path / "program.py").write_text(main_program(head + LATE_IMPORTS[how] + function))
    assert output(volant_home, tmp_path / "program.py") == "found"


def test_imports_are_found_in_files_of_any_encoding(volant_home: Path, tmp_path: Path) -> None:
    """Issue 6: which the first lines of a file name, as for Python itself."""
    body = """
    @app.function()
    def remote():
        import läte
        return läte.VALUE + "ä"
    """
    write(tmp_path, {"läte": "VALUE = 'found'"})
    text = "# -*- coding: latin-1 -*-\n" + main_program(body)
    (tmp_path / "program.py").write_bytes(text.encode("latin-1"))
    assert output(volant_home, tmp_path / "program.py") == "foundä"


def test_words_that_only_look_like_imports_send_nothing(volant_home: Path, tmp_path: Path) -> None:
    """Issue 6: those in comments and in text; a directory of data may be called anything."""
    body = """
    import os

    @app.function()
    def remote():
        "One could import data from unrelated, but not so."
        # import unrelated
        return sorted(name for name in os.listdir("/root") if name[0] not in "._")
    """
    write(tmp_path, {"program": main_program(body), "unrelated": "", "data/1/unrelated": ""})
    assert output(volant_home, tmp_path / "program.py") == "['program.py']"


@pytest.mark.parametrize("command", ["python", "volant run"])
def test_a_link_to_a_program_stands_for_it(volant_home: Path, tmp_path: Path, command: str) -> None:
    """Behaviour 133: it imports what lies beside the link's target, as any Python program does."""
    body = """
    import early

    @app.function()
    def remote():
        import late
        return early.VALUE, late.VALUE
    """
    text = main_program(body) + "\n@app.local_entrypoint()\ndef main():\n    print(remote.remote())"
    write(tmp_path / "real", {"program": text, "early": "VALUE = 1", "late": "VALUE = 2"})
    write(tmp_path / "links", {"late": "VALUE = 'beside the link'"})
    link = tmp_path / "links" / "called.py"
    link.symlink_to("../real/program.py")
    words = [link] if command == "python" else ["-m", "volant.cli.main", "run", link]
    assert output(volant_home, *words) == "(1, 2)"


def test_packages_travel_with_their_submodules(volant_home: Path, tmp_path: Path) -> None:
    """Issue 2, 6: all of them, with relative imports, imported by anybody or not."""
    body = """
    from package import outer

    @app.function()
    def remote():
        import package.deep.unused
        return outer.total(), package.deep.unused.__file__
    """
    files = {
        "program": main_program(body),
        "package/__init__": "",
        "package/outer": "from .deep import number\ndef total():\n    return number.NUMBER + 1",
        "package/deep/__init__": "",
        "package/deep/number": "NUMBER = 41",
        "package/deep/unused": "",
    }
    write(tmp_path, files)
    expected = "(42, '/root/package/deep/unused.py')"
    assert output(volant_home, tmp_path / "program.py") == expected


def test_a_program_may_be_a_module_of_a_package(volant_home: Path, tmp_path: Path) -> None:
    """Behaviour 133: `python -m`, with relative imports and a name that is no identifier."""
    body = """
    from . import beside
    from .. import above

    @app.function()
    def remote():
        return beside.VALUE, above.__name__, __name__
    """
    files = {
        "10_top/__init__": "",
        "10_top/above": "",
        "10_top/with-hyphen/__init__": "",
        "10_top/with-hyphen/beside": "VALUE = 'beside'",
        "10_top/with-hyphen/program": main_program(body),
    }
    write(tmp_path, files)
    program = Program("-m", "10_top.with-hyphen.program", home=volant_home, directory=tmp_path)
    code, printed, complaint = program.end()
    assert code == 0, complaint
    assert printed == "('beside', '10_top.above', '10_top.with-hyphen.program')\n"


def test_what_nobody_imports_stays_here(volant_home: Path, tmp_path: Path) -> None:
    """Issue 2, 6: only the program's package, what was imported, and what functions import."""
    body = """
    import os

    @app.function()
    def remote():
        from . import beside
        return sorted(name for name in os.listdir("/root") if not name.startswith("."))
    """
    files = {
        "package/__init__": "",
        "package/program": main_program(body),
        "package/beside": "",
        "unrelated": "",
        "directory/unrelated": "",
    }
    write(tmp_path, files)
    program = Program("-m", "package.program", home=volant_home, directory=tmp_path)
    assert program.end()[:2] == (0, "['package']\n")


def test_a_package_may_be_the_program(volant_home: Path, tmp_path: Path) -> None:
    """Behaviour 133: `python -m package` runs its `__main__`."""
    body = """
    from package.part import VALUE

    @app.function()
    def remote():
        return VALUE
    """
    files = {
        "package/__init__": "",
        "package/__main__": main_program(body),
        "package/part": "VALUE = 'of a package'",
    }
    write(tmp_path, files)
    program = Program("-m", "package", home=volant_home, directory=tmp_path)
    code, printed, complaint = program.end()
    assert code == 0, complaint
    assert printed == "of a package\n"


@pytest.mark.parametrize("name", ["2_two", "with-hyphen", "with space", "pickle_like.v2", "json"])
def test_a_program_may_have_any_name(volant_home: Path, tmp_path: Path, name: str) -> None:
    """Behaviours 132 and 133: a digit, a hyphen, a dot; it lies at /root/<name>.py."""
    body = """
    import os

    @app.function()
    def remote():
        return __file__, os.getcwd()
    """
    path = tmp_path / f"{name}.py"
    path.write_text(main_program(body))
    assert output(volant_home, path) == f"('/root/{name}.py', '/root')"


def test_a_directory_may_have_any_name(volant_home: Path, tmp_path: Path) -> None:
    """Behaviour 133: run as a path below directories that no import statement could name."""
    body = """
    import beside

    @app.function()
    def remote():
        return beside.VALUE
    """
    directory = tmp_path / "01_start" / "one-two"
    write(directory, {"program": main_program(body), "beside": "VALUE = 'beside'"})
    assert output(volant_home, directory / "program.py") == "beside"


def test_module_level_code_runs_again_in_the_container(volant_home: Path, tmp_path: Path) -> None:
    """Behaviour 132: with `__file__` of there; paths made from it fit."""
    body = """
    import os, sys
    HERE = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, os.path.join(HERE, "library"))
    import inner
    WHERE = "there" if not volant.is_local() else "here"

    @app.function()
    def remote():
        return WHERE, HERE, inner.VALUE
    """
    write(tmp_path, {"program": main_program(body), "library/inner": "VALUE = 'inner'"})
    assert output(volant_home, tmp_path / "program.py") == "('there', '/root', 'inner')"


def test_classes_of_the_program_unpickle_both_ways(volant_home: Path, tmp_path: Path) -> None:
    """Behaviour 134: a class is `__main__.Point` here and a module's there, and still one."""
    body = """
    from dataclasses import dataclass
    from enum import Enum

    class Colour(Enum):
        RED = 1

    @dataclass
    class Point:
        x: int
        colour: Colour

    class Missing(Exception):
        pass

    @app.function()
    def move(point):
        assert isinstance(point, Point), type(point)
        if point.x < 0:
            raise Missing(point)
        return Point(point.x + 1, point.colour)

    class Local:
        @staticmethod
        def remote():
            moved = move.remote(Point(1, Colour.RED))
            assert isinstance(moved, Point), type(moved)
            assert moved.colour is Colour.RED
            try:
                move.remote(Point(-1, Colour.RED))
            except Missing as error:
                assert isinstance(error.args[0], Point)
            return list(move.map([Point(1, Colour.RED), Point(2, Colour.RED)])) == [
                Point(2, Colour.RED), Point(3, Colour.RED)
            ]

    remote = Local
    """
    path = tmp_path / "34-points.py"
    path.write_text(main_program(body))
    assert output(volant_home, path) == "True"


def test_an_exception_of_the_import_arrives(volant_home: Path, tmp_path: Path) -> None:
    """Issue 2, 7: a module that cannot be imported remotely fails the call with its own error."""
    body = """
    if not volant.is_local():
        import a_module_that_nobody_has

    @app.function()
    def remote():
        return 1
    """
    write(tmp_path, {"program": main_program(body)})
    program = Program(tmp_path / "program.py", home=volant_home)
    code, _, complaint = program.end()
    assert code == 1
    assert "ModuleNotFoundError: No module named 'a_module_that_nobody_has'" in complaint
    assert f'File "{tmp_path}/program.py", line 8' in complaint


def test_app_run_at_global_scope_is_refused(volant_home: Path, tmp_path: Path) -> None:
    """Behaviour 73: in a container, saying so; it would run the app again and again."""
    text = """
    import volant

    app = volant.App("global-scope")

    @app.function()
    def remote():
        return 1

    with app.run():
        print(remote.remote())
    """
    write(tmp_path, {"program": text})
    code, _, complaint = Program(tmp_path / "program.py", home=volant_home).end()
    assert code == 1
    assert "global scope" in complaint
    assert '__name__ == "__main__"' in complaint


def test_functions_of_several_modules_make_one_app(volant_home: Path, tmp_path: Path) -> None:
    """Behaviour 72: a program of several files, whose parts import each other."""
    part = """
    import volant

    part = volant.App()

    @part.function()
    def double(value):
        return 2 * value
    """
    body = """
    import part
    app.include(part.part)

    @app.function()
    def remote():
        return part.double.remote(21), part.double.local(1)
    """
    write(tmp_path, {"program": main_program(body), "part": part})
    assert output(volant_home, tmp_path / "program.py") == "(42, 2)"
