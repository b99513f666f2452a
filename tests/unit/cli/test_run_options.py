"""The parser of `volant run`: its own options end where the reference begins."""

from __future__ import annotations

import pytest

from volant.cli.failures import Refused
from volant.cli.run import parse


def test_words_behind_the_reference_are_the_programs() -> None:
    options = parse(["-q", "file.py::f", "--quiet", "-n", "x", "--help"])
    assert (options.quiet, options.name, options.help) == (True, None, False)
    assert options.reference == "file.py::f"
    assert options.rest == ["--quiet", "-n", "x", "--help"]


@pytest.mark.parametrize(
    "words",
    [["-n", "x"], ["-nx"], ["--name", "x"], ["--name=x"], ["-qn", "x"], ["-dqnx"]],
)
def test_an_option_takes_its_value_in_every_usual_form(words: list[str]) -> None:
    options = parse([*words, "file.py"])
    assert (options.name, options.reference) == ("x", "file.py")


def test_short_switches_may_stand_together() -> None:
    options = parse(["-qdm", "pkg.mod"])
    assert options.quiet and options.detach and options.module


def test_a_dash_is_standard_input_and_two_dashes_end_the_options() -> None:
    assert parse(["-"]).reference == "-"
    assert parse(["-q", "--", "-odd.py", "a"]).reference == "-odd.py"


def test_nothing_to_run_is_no_reference() -> None:
    assert parse([]).reference is None
    assert parse(["--help"]).help


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--quite", "f.py"], "there is no option `--quite`", "did you mean `--quiet`?"),
        (["-x"], "there is no option `-x`", "options of the program go behind its file"),
        (["--name"], "option `--name` needs a value", ""),
        (["-w"], "option `-w` needs a value", ""),
        (["--quiet=1", "f.py"], "option `--quiet` takes no value", ""),
    ],
)
def test_a_wrong_option_is_named(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(words)
    assert str(refused.value) == message
    assert refused.value.exit_code == 2
    assert hint in "\n".join(refused.value.hints)
