"""`volant serve`: a save is seen in the next call, and nothing that one saves ends it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.behaviours.programs import Program, apps, ask, program_file
from tests.support import daemon_pid, eventually
from volant.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """
import volant

app = volant.App("served")

@app.function(schedule=volant.Cron("0 0 1 1 *"))
def answer():
    print("{answer}", flush=True)
"""
#: What a save may look like while somebody types -> what is shown of it.
BROKEN = {
    "def half(": "SyntaxError: '(' was never closed",
    "raise RuntimeError('at the top')": "RuntimeError: at the top",
    "import nothing_of_this_name": "ModuleNotFoundError: No module named 'nothing_of_this_name'",
    "app = 1": "has no app",
    "if not volant.is_local(): raise RuntimeError('only there')": "RuntimeError: only there",
    "import os; os._exit(3)": "the program ended while it was loaded",
}


class Served:
    """A program that is served, and what its function prints when it is called."""

    def __init__(self, directory: Path, home: Path, *words: str, **variables: str) -> None:
        self.path = directory / "program.py"
        self.home = home
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            self.program = Program(
                "-m", "volant.cli.main", "serve", *words, self.path, home=home,
                directory=directory,
            )  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = ask(self.home, "schedule_list")["schedules"]
        return rows

    def answer(self) -> str:
        """What the function prints now."""
        call = ask(self.home, "schedule_run", function="served.answer")
        eventually(lambda: call["call_id"] not in {row["running"] for row in self.rows()})
        [row] = [row for row in self.rows() if row["name"] == "answer"]
        assert row["last_ok"], "a file that is half written may well be served for a moment"
        return self.program.line()

    def answers(self, wanted: str) -> bool:
        """True if a call has this answer; a call on its way to another version is made again."""
        try:
            return self.answer() == wanted
        except Error:
            return False

    def await_answer(self, wanted: str) -> None:
        eventually(lambda: self.answers(wanted))

    def said(self, text: str) -> str:
        """What it has said up to a line with this text."""
        assert self.program.process.stderr is not None
        lines: list[str] = []
        for line in self.program.process.stderr:
            lines.append(line)
            if text in line:
                return "".join(lines)
        raise AssertionError(f"it never said {text!r}:\n{''.join(lines)}")

    def end(self) -> tuple[int, str]:
        self.program.interrupt()
        code, _, complaint = self.program.end()
        return code, complaint


@pytest.fixture
def served(tmp_path: Path, volant_home: Path) -> Iterator[Served]:
    program_file(tmp_path, PROGRAM.format(answer="first"))
    served = Served(tmp_path, volant_home)
    eventually(lambda: [row for row in served.rows() if row["app"] == "served"])
    yield served
    served.program.kill()


def test_a_save_changes_what_is_answered_and_the_app_stays(served: Served) -> None:
    """Behaviour 131: it reloads on file change."""
    assert served.answer() == "first"
    [before] = served.rows()
    served.path.write_text(PROGRAM.format(answer="second"))
    served.await_answer("second")
    [after] = served.rows()
    assert (after["app_id"], after["function_id"]) == (before["app_id"], before["function_id"])
    assert after["runs"] >= 2
    code, complaint = served.end()
    assert code == 0
    assert "volant: serving served (ap-" in complaint
    assert "volant: reloaded in" in complaint
    assert [app for app in apps(served.home) if app["name"] == "served"] == []


@pytest.mark.parametrize("text", BROKEN)
def test_what_cannot_be_loaded_is_shown_and_the_last_good_version_goes_on(
    served: Served, text: str
) -> None:
    """Issue 5, 2: broken code prints its traceback and the last good version keeps serving."""
    served.path.write_text(PROGRAM.format(answer="never") + text)
    said = served.said("the last version that could be loaded goes on; save a file to try again")
    assert BROKEN[text] in said
    assert "volant/cli" not in said
    assert served.answer() == "first"
    served.path.write_text(PROGRAM.format(answer="first"))
    served.said("it can be loaded again, and is what is served")
    served.path.write_text(PROGRAM.format(answer="mended"))
    served.await_answer("mended")
    assert served.end()[0] == 0


def test_of_a_burst_of_saves_the_last_one_counts(served: Served) -> None:
    """Issue 5, 2: debounce of keystroke bursts without losing the last save."""
    for number in range(200):
        served.path.write_text(PROGRAM.format(answer=f"number {number}"))
    served.await_answer("number 199")


def test_a_module_that_is_imported_counts_too(served: Served) -> None:
    """New files, files that are saved by rename, and files that are deleted."""
    helper = served.path.with_name("helper.py")
    text = PROGRAM.replace('print("{answer}"', "import helper; print(helper.WORD")
    served.path.write_text(text.replace("import volant", "import volant\nimport helper"))
    helper.write_text("WORD = 'helped'")
    served.await_answer("helped")
    aside = served.path.with_name("aside")
    aside.write_text("WORD = 'renamed'")
    aside.replace(helper)
    served.await_answer("renamed")
    helper.unlink()
    assert served.answer() == "renamed"
    helper.write_text("WORD = 'back'")
    served.await_answer("back")


#: What a program may have besides, whose arrival shows that it has been read again.
OTHER = (
    PROGRAM.format(answer="other")
    .replace('app = volant.App("served")', "")
    .replace("def answer", "def other")
)


def test_functions_come_and_go(served: Served) -> None:
    another = PROGRAM.format(answer="first") + OTHER
    served.path.write_text(another)
    eventually(lambda: {row["name"] for row in served.rows()} == {"answer", "other"})
    served.path.write_text(another.replace("def answer", "def renamed"))
    eventually(lambda: {row["name"] for row in served.rows()} == {"renamed", "other"})


def test_what_runs_is_run_again_by_the_new_version(served: Served) -> None:
    """`recreate`: containers of the old version are stopped at once."""
    endless = 'print("{answer}", flush=True)\n    import time; time.sleep({seconds})'
    text = PROGRAM.replace('print("{answer}", flush=True)', endless)
    served.path.write_text(text.format(answer="slow", seconds=600) + OTHER)
    eventually(lambda: "other" in {row["name"] for row in served.rows()})
    ask(served.home, "schedule_run", function="served.answer")
    assert served.program.line() == "slow"
    served.path.write_text(text.format(answer="quick", seconds=0))
    assert served.program.line() == "quick"
    eventually(lambda: served.rows()[0]["running"] is None)
    assert served.rows()[0]["last_ok"] is True


@pytest.mark.parametrize("name", ["VOLANT_SERVE_TIMEOUT", "MODAL_SERVE_TIMEOUT"])
def test_it_ends_after_its_timeout(tmp_path: Path, volant_home: Path, name: str) -> None:
    """Behaviour 131: it ends after MODAL_SERVE_TIMEOUT."""
    program_file(tmp_path, PROGRAM.format(answer="first"))
    served = Served(tmp_path, volant_home, **{name: "0.5"})
    code, _, complaint = served.program.end()
    assert code == 0, complaint


def test_a_program_that_is_not_there_is_refused(tmp_path: Path, volant_home: Path) -> None:
    code, _, complaint = Served(tmp_path, volant_home).program.end()
    assert code == 2
    assert "error: there is no file" in complaint


def test_a_daemon_that_was_killed_is_started_anew_with_the_app(
    tmp_path: Path, own_home: Path
) -> None:
    program_file(tmp_path, PROGRAM.format(answer="first"))
    served = Served(tmp_path, own_home)
    eventually(served.rows)
    assert served.answer() == "first"
    pid = daemon_pid(own_home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    served.await_answer("first")
    assert served.end()[0] == 0


#: Says whether a package was there before the program has imported it, and in which process.
HEAVY = """
import sys
import volant
{before}
ahead = "sqlalchemy" in sys.modules
import sqlalchemy
{after}
app = volant.App("served")
loaded = {number}

@app.function(schedule=volant.Cron("0 0 1 1 *"), env={env})
def answer():
    print(loaded, ahead, getattr(sqlalchemy, "WORD", "installed"))
"""


def _save(served: Served, number: int, answer: str, **parts: object) -> None:
    """Save a version, and wait until it is what is served."""
    told = {"before": "", "after": "", "env": {}, **parts}
    served.path.write_text(HEAVY.format(number=number, **told))
    eventually(lambda: (served.answer() + " ").startswith(f"{number} {answer} "))


def _save_until_ahead(served: Served) -> None:
    """Save versions until one finds the package imported."""
    numbers = iter(range(1000))
    eventually(lambda: _is_ahead(served, next(numbers)))


def _is_ahead(served: Served, number: int) -> bool:
    served.path.write_text(HEAVY.format(number=number, before="", after="", env={}))
    eventually(lambda: (answer := served.answer()).startswith(f"{number} ") and answer)
    return "True" in served.answer()


def test_what_a_program_begins_with_is_imported_ahead_of_a_save(served: Served) -> None:
    """Issue 5, bars: a save is served in 300 ms, whatever the program imports."""
    _save_until_ahead(served)
    assert served.end()[0] == 0


@pytest.mark.parametrize(
    "parts",
    [{"before": "import os; os.environ['A'] = 'b'"}, {"before": "sys.path.append('/none')"},
     {"env": {"A": "b"}}],
    ids=["environment changed", "path changed", "another environment"],
)  # fmt: skip
def test_a_program_that_does_something_else_first_imports_for_itself(
    served: Served, parts: dict[str, object]
) -> None:
    _save_until_ahead(served)
    _save(served, 1000, "False installed", **parts)


def test_a_source_that_is_called_like_an_installed_package_takes_its_place(served: Served) -> None:
    _save_until_ahead(served)
    served.path.with_name("sqlalchemy.py").write_text("WORD = 'own'")
    _save(served, 1000, "False own")
    served.path.with_name("sqlalchemy.py").write_text("WORD = 'changed'")
    _save(served, 1001, "False changed")


def test_a_package_of_the_program_is_never_stale(served: Served) -> None:
    """One that is installed for editing lies beside the program and is a source as well."""
    package = served.path.with_name("library")
    package.mkdir()
    (package / "__init__.py").write_text("import sqlalchemy\nWORD = 'before'")
    (package.parent / "library.egg-info").mkdir()
    after = "import library; sqlalchemy.WORD = library.WORD"
    _save(served, 1000, "False before", after=after)
    for number in range(3):
        (package / "__init__.py").write_text(f"import sqlalchemy\nWORD = 'word{number}'")
        eventually(lambda number=number: f" word{number}" in served.answer())


def test_the_client_imports_ahead_as_well(served: Served, tmp_path: Path) -> None:
    """Its own import of the program takes as long as that of the zygote."""
    seen = tmp_path / "seen"
    seen.write_text("")
    after = f"if volant.is_local(): open({str(seen)!r}, 'a').write(f'{{ahead}} ')"
    numbers = iter(range(1000))

    def is_ahead() -> bool:
        number = next(numbers)
        served.path.write_text(HEAVY.format(number=number, before="", after=after, env={}))
        eventually(lambda: served.answer().startswith(f"{number} "))
        return "True" in seen.read_text()

    eventually(is_ahead, within_s=20, every_s=0.5)  # a fork is made when it was quiet


PAGE = """
import volant

app = volant.App("paged")

@app.function()
@volant.fastapi_endpoint()
def page():
    return "{answer}"
"""


def test_a_second_serve_of_a_label_has_it_until_it_ends(tmp_path: Path, volant_home: Path) -> None:
    """The first says so, and a save does not take it back."""
    programs: list[Served] = []

    def serve(answer: str) -> tuple[Served, str]:
        directory = tmp_path / answer
        program_file(directory, PAGE.format(answer=answer))
        programs.append(Served(directory, volant_home))
        said = programs[-1].said("page => ")
        return programs[-1], said.rpartition("=> ")[2].strip()

    try:
        first, url = serve("first")
        assert httpx.get(url, timeout=60).json() == "first"
        second, same = serve("second")
        assert same == url
        assert httpx.get(url, timeout=60).json() == "second"
        assert "`page` is not reached at `paged-page-dev` any more" in first.said("not reached")
        first.path.write_text(PAGE.format(answer="third"))
        first.said("reloaded in")
        assert httpx.get(url, timeout=60).json() == "second"
        assert second.end()[0] == 0
        assert "reached at `paged-page-dev` again" in first.said("again")
        assert httpx.get(url, timeout=60).json() == "third"
    finally:
        for one in programs:
            one.program.kill()
