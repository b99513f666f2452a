"""What ends a run is shown in its own words, with the exit code that belongs to it."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from volant import errors
from volant.cli import failures
from volant.cli.failures import Refused, report
from volant.runner.loading import load_file

if TYPE_CHECKING:
    from pathlib import Path


def _raised_in(path: Path, source: str) -> BaseException:
    """What loading a file raises: the traceback begins with frames of ours."""
    path.write_text(source)
    with pytest.raises(BaseException) as raised:
        load_file("failing_program", str(path))
    error = raised.value
    # The first frame is this test's own, which stands for none of `volant run`.
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)


def _files(error: BaseException) -> list[str]:
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


def test_a_users_exception_shows_the_users_frames_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behaviour 130."""
    path = tmp_path / "program.py"
    error = _raised_in(path, "def f():\n    raise ValueError('mine')\nf()\n")
    assert any("volant" in file for file in _files(error))
    assert report(error) == 1
    assert _files(error) == [str(path), str(path)]
    assert capsys.readouterr().err.endswith("ValueError: mine\n")


def test_the_chain_of_an_exception_loses_our_frames_too(tmp_path: Path) -> None:
    """Behaviour 130."""
    source = (
        "from volant.ids import new_id\n"
        "try:\n    new_id()\n"
        "except TypeError as cause:\n    raise ExceptionGroup('g', [cause]) from cause\n"
    )
    error = _raised_in(tmp_path / "program.py", source)
    report(error)
    assert error.__cause__ is not None
    for one in (error, error.__cause__):
        assert _files(one) == [str(tmp_path / "program.py")]


def test_the_setting_brings_our_frames_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOLANT_TRACEBACK", "1")
    error = _raised_in(tmp_path / "program.py", "1/0")
    report(error)
    assert len(_files(error)) > 1


def test_an_error_of_ours_in_the_users_code_shows_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "import volant\napp = volant.App()\n@app.function\ndef f(): pass\n"
    assert report(_raised_in(tmp_path / "program.py", source)) == 1
    shown = capsys.readouterr().err
    assert "@app.function\n" in shown
    assert shown.endswith("hint: write @app.function()\n")


def test_an_error_without_a_users_frame_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(errors.InvalidError("too large", hint="make it smaller")) == 1
    assert capsys.readouterr().err == "error: too large\nhint: make it smaller\n"


@pytest.mark.parametrize(
    "error",
    [
        errors.ConnectionError("gone", hint="look"),
        errors.VersionError("gone", hint="look"),
        errors.InternalError("gone", hint="look"),
        errors.ServiceError("gone", hint="look"),
    ],
)
def test_a_failure_of_the_service_exits_with_3(
    error: errors.Error, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error) == 3
    assert capsys.readouterr().err == "error: gone\nhint: look\n"


def test_what_the_command_refuses_keeps_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(Refused("no", hints=["a", "", "b"])) == 2
    assert report(Refused("no", exit_code=1)) == 1
    assert capsys.readouterr().err == "error: no\nhint: a\nhint: b\nerror: no\n"


def test_an_interrupt_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "Interrupted\n"


def test_a_hook_of_the_user_shows_the_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[type] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, *rest: seen.append(kind))
    report(_raised_in(tmp_path / "program.py", "1/0"))
    assert seen == [ZeroDivisionError]


def test_a_relative_import_shows_the_switch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behaviour 133: relative imports work under -m."""
    report(_raised_in(tmp_path / "program.py", "from . import x"))
    assert "`volant run -m pkg.mod`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFoundError("x"), 2),
        (errors.InvalidError("x"), 2),
        (errors.ConnectionError("x"), 3),
        (errors.TimeoutError("x"), 3),
    ],
)
def test_other_commands_tell_usage_from_service(error: errors.Error, code: int) -> None:
    assert failures.report_error(error) == code


def test_near_misses_are_named() -> None:
    assert failures.did_you_mean("lst", ["list", "logs", "stop"]) == "did you mean `list`?"
    assert failures.did_you_mean("zzz", ["list"]) == ""
    known = ["many", "mean", "main"]
    assert failures.did_you_mean("mian", known).startswith("did you mean `main` or ")
