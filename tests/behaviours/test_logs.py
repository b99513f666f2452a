"""What containers print: where it appears, in which order, and when nothing does."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import printing
from tests.behaviours.programs import ask, run_program
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    Captured = pytest.CaptureFixture[str]


def test_what_is_printed_appears_before_the_result(capfd: Captured) -> None:
    """Issue 2, 3: on the same streams; each result comes after what its function printed."""
    with volant.enable_output(), printing.app.run():
        for value in range(20):
            assert printing.both.remote(value) == value
            print(f"result {value}", flush=True)
    printed = capfd.readouterr()
    expected = [line for value in range(20) for line in (f"out {value}", f"result {value}")]
    assert printed.out.splitlines() == expected
    assert printed.err.splitlines() == [f"err {value}" for value in range(20)]


def test_nothing_appears_without_enable_output(volant_home: Path) -> None:
    """Behaviour 137: a script that runs an app is silent, remote prints included."""
    run = run_program("printing.py", home=volant_home)
    assert run.stdout == "only this\n"
    assert run.stderr == ""


def test_what_goes_past_python_appears_too(capfd: Captured) -> None:
    """Issue 2, 3: writes to descriptor 1, C's buffers, and child processes; in their order."""
    with volant.enable_output(), printing.app.run():
        printing.below_python.remote()
    printed = capfd.readouterr()
    expected = ["python first", "descriptor", "c library", "child", "python last"]
    assert printed.out.splitlines() == expected
    assert printed.err.splitlines() == ["child err"]


def test_a_line_without_end_is_not_held_back(capfd: Captured) -> None:
    """Issue 2, 3: it appears as it is, before the result."""
    with volant.enable_output(), printing.app.run():
        printing.without_newline.remote()
        assert capfd.readouterr().out == "no newline"


def test_ten_thousand_lines_appear_in_order(capfd: Captured) -> None:
    """Issue 2, 3: none is lost, although the pipe holds far fewer."""
    with volant.enable_output(), printing.app.run():
        printing.many_lines.remote(10_000)
        assert capfd.readouterr().out.splitlines() == [f"line {n}" for n in range(10_000)]


def test_bytes_pass_as_they_are(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Issue 2, 3: also those that are no UTF-8."""
    with volant.enable_output(), printing.app.run():
        printing.binary.remote()
    assert capfdbinary.readouterr().out == b"\xff\xfe raw\n" + "ä€😀\n".encode()


def test_logging_goes_to_stderr(capfd: Captured) -> None:
    """Issue 2, 3: with Python's own defaults."""
    with volant.enable_output(), printing.app.run():
        printing.logged.remote()
    assert capfd.readouterr().err == "a warning of logging\n"


def test_the_traceback_of_an_exit_is_in_stderr(capfd: Captured) -> None:
    """Behaviour 6: SystemExit comes back, and its container has shown where it came from."""
    with volant.enable_output(), printing.app.run(), pytest.raises(SystemExit) as caught:
        printing.leave.remote()
    assert caught.value.code == 7
    printed = capfd.readouterr()
    assert printed.out == "before the exit\n"
    assert "sys.exit(7)" in printed.err
    assert printed.err.rstrip().endswith("SystemExit: 7")
    assert "volant/runner" not in printed.err


def test_what_is_printed_appears_while_the_function_runs(capfd: Captured) -> None:
    """Issue 2, 3: although the program waits for nothing at that moment."""
    seen = []

    def has_appeared() -> bool:
        seen.append(capfd.readouterr().out)
        return "before the wait\n" in "".join(seen)

    with volant.enable_output(), printing.app.run():
        call = printing.print_and_wait.spawn(60.0)
        eventually(has_appeared)
        call.cancel()


def test_logs_are_kept_when_nobody_looks(volant_home: Path) -> None:
    """Issue 2, 3: of an app that showed nothing, by its id, after its end."""
    with printing.app.run() as running:
        app_id = running.app_id
        printing.both.remote(5)
    entries = ask(volant_home, "app_logs", app=app_id)["entries"]
    assert {(entry["stream"], entry["data"]) for entry in entries} == {
        ("stdout", b"out 5\n"), ("stderr", b"err 5\n"),
    }  # fmt: skip


def test_logs_of_a_function_an_app_and_a_call_have_one_shape() -> None:
    """Issue 6: lines with their source and time, of one function, of its app, of one call."""
    with printing.app.run():
        printing.both.remote(1)
        call = printing.both.spawn(2)
        call.get()
        [line] = printing.both.logs.tail(1, source="stdout")
        assert (line.message, line.source) == ("out 2", "stdout")
        assert line.object_id == printing.both.object_id
        assert line.context_ids[0] == printing.app.app_id
        assert line.context_ids[1].startswith("ta-")
        everything = printing.app.logs.fetch(since=0, search_text="out")
        assert [one.message for one in everything] == ["out 1", "out 2"]
        assert {one.object_id for one in everything} == {printing.app.app_id}
        assert printing.below_python.logs.tail() == []
    assert {(one.message, one.object_id) for one in call.logs.tail()} == {
        ("out 2", call.object_id), ("err 2", call.object_id),
    }  # fmt: skip


def test_a_stream_of_a_call_has_all_its_lines_and_ends_with_it() -> None:
    """Issue 6: also those of before; each once, and the one without an end at last."""
    with printing.app.run():
        call = printing.many_lines.spawn(1000)
        assert [one.message for one in call.logs.stream()] == [f"line {n}" for n in range(1000)]
        assert [one.message for one in call.logs.stream()] == [f"line {n}" for n in range(1000)]
        last = printing.without_newline.spawn()
        assert [one.message for one in last.logs.stream()] == ["no newline"]


def test_a_stream_has_what_is_printed_meanwhile_and_ends_in_its_time() -> None:
    """Issue 6: a function's, an app's; from now on."""
    with printing.app.run():
        printing.both.remote(1)
        assert list(printing.both.logs.stream(timeout=0)) == []
        stream = printing.app.logs.stream()
        feeder = threading.Thread(target=_call_until_seen, args=(seen := threading.Event(),))
        feeder.start()
        first = next(stream)
        seen.set()
        feeder.join()
        assert first.message in {"out 2", "err 2"}
        stream.close()


def _call_until_seen(seen: threading.Event) -> None:
    while not seen.is_set():
        printing.both.remote(2)


def test_a_stream_in_async_code_ends_with_its_app() -> None:
    """Issue 6: and other tasks go on meanwhile."""

    async def main() -> list[str]:
        async with printing.app.run():
            stream = printing.app.logs.stream.aio()
            first = asyncio.ensure_future(anext(stream))
            while not first.done():
                await printing.both.remote.aio(3)
        return [(await first).message, *[one.message async for one in stream]]

    assert set(asyncio.run(main())) == {"out 3", "err 3"}


def test_enable_output_ends_with_its_block(capfd: Captured) -> None:
    """Behaviour 137: apps that run later are silent again."""
    with volant.enable_output():
        pass
    with printing.app.run():
        printing.both.remote(1)
    assert capfd.readouterr() == ("", "")
