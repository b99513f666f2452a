"""Exceptions that travel: what of them arrives, and what stands in for what cannot."""

from __future__ import annotations

import linecache
import pickle
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pytest

from volant import errors
from volant.wire import faults, values

if TYPE_CHECKING:
    from collections.abc import Callable


class PlainError(Exception):
    pass


class TwoArgumentsError(Exception):
    """Its `args` do not fit its `__init__`, so it cannot be unpickled the ordinary way."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


@dataclass(frozen=True)
class FrozenError(Exception):
    reason: str


class UnpicklableError(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.handle = sys._getframe()


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class SuicidalError(Exception):
    def __reduce__(self) -> tuple[object, ...]:
        return _raise_at_unpickling, ()


class ForgetfulError(Exception):
    """Pickles without what its text was made of, as those of `requests` do."""

    def __init__(self, *args: object, reason: str = "") -> None:
        super().__init__(*args)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.reason}" if self.reason else "None"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args


class DisguisedError(Exception):
    def __reduce__(self) -> tuple[object, ...]:
        return str, ("not an exception",)


_unpickled = 0


def _raise_at_unpickling() -> Exception:
    """Passes the sender's own trial, and fails at the receiver."""
    global _unpickled
    _unpickled += 1
    if _unpickled == 1:
        return SuicidalError()
    raise LookupError("gone here")


def caught(act: Callable[[], object]) -> BaseException:
    try:
        act()
    except BaseException as error:  # noqa: BLE001  # whatever it raises is what the test wants
        return error
    raise AssertionError("nothing was raised")


def raised(error: BaseException) -> BaseException:
    def fail() -> NoReturn:
        raise error

    return caught(fail)


def through_the_wire(error: BaseException) -> BaseException:
    return faults.decode_fault(faults.encode_fault(error, where="ta-1"))


@pytest.mark.parametrize(
    "error",
    [PlainError("text", 1), KeyError("k"), SystemExit(3), KeyboardInterrupt(), ValueError()],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_keeps_its_type_and_arguments(error: BaseException):
    again = through_the_wire(raised(error))
    assert type(again) is type(error)
    assert again.args == error.args


def test_an_exception_is_rebuilt_without_its_init():
    again = through_the_wire(raised(TwoArgumentsError(7, "seven")))
    assert isinstance(again, TwoArgumentsError)
    assert (str(again), again.code) == ("7: seven", 7)


def test_an_exception_that_forbids_changes_arrives_with_its_frames():
    again = through_the_wire(raised(FrozenError("why")))
    assert isinstance(again, FrozenError)
    assert again.reason == "why"
    assert again.__traceback__ is not None


def test_a_local_class_travels_by_value():
    class LocalError(Exception):
        pass

    again = through_the_wire(raised(LocalError("here")))
    assert (type(again).__name__, str(again)) == ("LocalError", "here")


def test_an_unpicklable_exception_arrives_as_its_text():
    again = through_the_wire(raised(UnpicklableError("why")))
    assert type(again) is errors.RemoteError
    assert again.message.endswith("UnpicklableError: why")
    assert again.hint is not None
    assert "it could not be pickled" in again.hint
    assert "raise error" in again.hint, "the remote traceback's text is shown"


def test_what_has_led_to_an_exception_is_shown_once():
    """Its frames are rebuilt, so its text would be there again, and that of what led to it."""

    def fail() -> NoReturn:
        try:
            raise UnpicklableError("first")
        except UnpicklableError as error:
            raise PlainError("second", 2) from error

    again = through_the_wire(caught(fail))
    assert type(again.__cause__) is errors.RemoteError
    assert "Traceback" not in str(again.__cause__.hint)
    assert "".join(traceback.format_exception(again)).count('raise UnpicklableError("first")') == 1


def test_an_exception_that_cannot_be_unpickled_here_arrives_as_its_text():
    again = through_the_wire(raised(SuicidalError("why")))
    assert type(again) is errors.RemoteError
    assert "LookupError: gone here" in str(again.hint)


def test_a_pickle_that_is_no_exception_is_not_raised():
    fields = values.decode_map(faults.encode_fault(DisguisedError("why")))
    assert isinstance(fields["pickle"], bytes)
    assert isinstance(pickle.loads(fields["pickle"]), DisguisedError), "by its parts instead"
    fields["pickle"] = pickle.dumps("just text")
    again = faults.decode_fault(values.encode(fields))
    assert type(again) is errors.RemoteError
    assert "it unpickled as a str" in str(again.hint)


def test_an_exception_without_text_still_arrives():
    again = through_the_wire(raised(UnprintableError()))
    assert isinstance(again, UnprintableError)
    fields = values.decode_map(faults.encode_fault(UnprintableError()))
    assert "cannot be shown" in str(fields["message"])


def test_formatting_that_fails_leaves_the_type():
    class HopelessError(Exception):
        __cause__ = property(lambda self: 1 / 0)  # type: ignore[assignment]  # as nasty as it gets

        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert faults._format(HopelessError(), None).startswith("HopelessError")


def test_cause_and_notes_arrive():
    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            error.add_note("of the first")
            raise ValueError("second") from error

    error = caught(fail)
    error.add_note("of the second")
    again = through_the_wire(error)
    assert again.__notes__ == ["of the second"]
    assert isinstance(again.__cause__, KeyError)
    assert again.__cause__.__notes__ == ["of the first"]
    assert again.__suppress_context__


def test_text_that_the_pickle_of_an_exception_has_lost_arrives_as_a_note():
    again = through_the_wire(ForgetfulError("no answer", reason="refused"))
    assert type(again) is ForgetfulError
    assert vars(again)["__notes__"] == ["in the container its text was: no answer: refused"]
    whole = through_the_wire(ForgetfulError("no answer"))
    assert not hasattr(whole, "__notes__")
    noted = ForgetfulError("no answer", reason="refused")
    vars(noted)["__notes__"] = ["mine"]
    assert len(vars(through_the_wire(noted))["__notes__"]) == 2


def test_context_arrives_unless_it_was_suppressed():
    def fail(*, hide: bool) -> None:
        try:
            raise KeyError("first")
        except KeyError:
            if hide:
                raise ValueError("second") from None
            raise ValueError("second")  # noqa: B904  # its context is the point

    again = through_the_wire(caught(lambda: fail(hide=False)))
    assert isinstance(again.__context__, KeyError)
    assert not again.__suppress_context__
    again = through_the_wire(caught(lambda: fail(hide=True)))
    assert again.__context__ is None
    assert again.__suppress_context__


def test_notes_of_an_unpicklable_exception_arrive_beside_the_hint():
    error = UnpicklableError("why")
    error.add_note("a note")
    text = "".join(traceback.format_exception(through_the_wire(raised(error))))
    assert "a note" in text


@pytest.mark.parametrize("notes", [7, None, [1, "kept"], "text"])
def test_notes_that_are_none_do_no_harm(notes: object):
    error = PlainError()
    error.__notes__ = notes  # type: ignore[assignment]  # user code may
    fields = values.decode_map(faults.encode_fault(error))
    assert fields["notes"] == (["kept"] if isinstance(notes, list) else [])


def test_a_long_chain_is_cut():
    error: BaseException = PlainError(0)
    for number in range(1, 30):
        outer = PlainError(number)
        outer.__cause__ = error
        error = outer
    again: BaseException | None = through_the_wire(error)
    length = 0
    while again is not None:
        again, length = again.__cause__, length + 1
    assert length == faults.CHAIN_MAX + 1


def test_a_chain_that_goes_in_circles_ends():
    first, second = PlainError("a"), PlainError("b")
    first.__cause__, second.__cause__ = second, first
    assert isinstance(through_the_wire(first), PlainError)


def test_a_deep_recursion_keeps_its_innermost_frames():
    def fall(depth: int) -> None:
        if depth == 0:
            raise PlainError("down")
        if depth % 2:
            fall(depth - 1)
        else:
            fall(depth - 1)

    again = through_the_wire(caught(lambda: fall(400)))
    entries = traceback.extract_tb(again.__traceback__)
    assert len(entries) == faults.FRAMES_MAX + 1
    assert entries[0].filename == "<remote call in ta-1>"
    assert entries[-1].name == "fall"


def test_frames_in_a_row_that_are_alike_are_shown_as_python_shows_them(
    capsys: pytest.CaptureFixture[str],
):
    def fall(depth: int) -> None:
        if depth == 0:
            raise PlainError("down")
        fall(depth - 1)

    fault = faults.encode_fault(caught(lambda: fall(400)), where="ta-1")
    assert len(fault) < 4000
    again = faults.decode_fault(fault)
    assert len(traceback.extract_tb(again.__traceback__)) == 1 + 1 + 1 + 400 + 1
    sys.__excepthook__(type(again), again, again.__traceback__)
    shown = capsys.readouterr().err
    assert "  [Previous line repeated 397 more times]\n" in shown
    assert len(shown.splitlines()) < 25


def test_a_container_cannot_make_a_traceback_of_any_length():
    fields = values.decode_map(faults.encode_fault(raised(PlainError("x"))))
    fields["repeats"] = [1 << 40] * len(fields["frames"])  # type: ignore[arg-type]
    again = faults.decode_fault(values.encode(fields))
    assert len(traceback.extract_tb(again.__traceback__)) <= 2 * faults.REPEATS_MAX


def test_data_that_an_exception_carries_does_not_travel_without_limit():
    small, large = np.zeros(1 << 10), np.zeros(1 << 20)
    assert isinstance(through_the_wire(raised(PlainError(small))), PlainError)
    fault = faults.encode_fault(raised(PlainError(large)))
    assert len(fault) < 1 << 20
    assert type(faults.decode_fault(fault)) is errors.RemoteError


def test_a_fault_stays_small_whatever_its_source_looks_like():
    name = "<one very long line>"
    source = "def fail(): raise ValueError(" + repr("x" * 100_000) + ")"
    linecache.cache[name] = (len(source), None, [source + "\n"], name)
    scope: dict[str, Callable[[], object]] = {}
    exec(compile(source, name, "exec"), scope)
    fields = values.decode_map(faults.encode_fault(caught(scope["fail"])))
    frames = fields["frames"]
    assert isinstance(frames, list)
    assert len(str(frames[-1])) < 3000
    assert len(str(fields["message"])) == faults.TEXT_CHARS_MAX


def test_the_remote_source_line_and_its_carets_are_shown():
    name = "/nowhere/on/this/machine.py"
    source = "def fail(x):\n    return x + (x / 0)\n"
    lines = source.splitlines(keepends=True)
    linecache.cache[name] = (len(source), None, lines, name)
    scope: dict[str, Callable[[int], object]] = {}
    exec(compile(source, name, "exec"), scope)
    fault = faults.encode_fault(caught(lambda: scope["fail"](1)))
    del linecache.cache[name]
    again = faults.decode_fault(fault)
    text = "".join(traceback.format_exception(again))
    assert f'File "{name}", line 2, in fail' in text
    assert "return x + (x / 0)" in text
    *_, carets = (line for line in text.splitlines() if "^" in line and "~" in line)
    assert carets.strip() == "~~^~~"


def test_frames_of_our_own_files_are_left_out():
    error = raised(PlainError("x"))
    fields = values.decode_map(faults.encode_fault(error, skip_under=__file__))
    assert fields["frames"] == []
    assert "test_faults.py" not in str(fields["text"])


def test_a_container_path_is_shown_as_the_local_file_it_came_from():
    error = raised(PlainError("x"))
    fault = faults.encode_fault(error)
    again = faults.decode_fault(fault, local_path=lambda path: "/here/" + path.rpartition("/")[2])
    names = {entry.filename for entry in traceback.extract_tb(again.__traceback__)}
    assert names == {"/here/test_faults.py"}


def test_a_source_line_beyond_reason_is_not_remembered():
    faults._remember_source("/nowhere/long.py", 2_000_000, "x = 1")
    faults._remember_source("/nowhere/long.py", 3, "")
    assert "/nowhere/long.py" not in linecache.cache
    faults._remember_source("/nowhere/long.py", 3, "c = 3")
    faults._remember_source("/nowhere/long.py", 1, "a = 1")
    assert linecache.getlines("/nowhere/long.py") == ["a = 1\n", "\n", "c = 3\n"]
    del linecache.cache["/nowhere/long.py"]


def test_a_platform_fault_is_an_error_of_ours_with_its_hint():
    again = faults.decode_fault(faults.platform_fault("NotFoundError", "gone", "look there"))
    assert type(again) is errors.NotFoundError
    assert (again.message, again.hint) == ("gone", "look there")


def test_a_platform_fault_from_the_future_is_still_an_error():
    again = faults.decode_fault(faults.platform_fault("FromTheFutureError", "gone"))
    assert type(again) is errors.InternalError


def test_a_cancellation_passes_by_an_except_exception():
    again = faults.decode_fault(faults.platform_fault("InputCancellation", "cancelled"))
    assert not isinstance(again, Exception)


def platform(**fields: object) -> bytes:
    return values.encode({"error": "NotFoundError", "message": "x", **fields})


@pytest.mark.parametrize(
    "fault",
    [
        b"",
        b"\xc0",
        values.encode({}),
        values.encode({"pickle": None}),
        values.encode({"error": 7, "message": ""}),
        values.encode({"error": "NotFoundError"}),
        platform(frames=[1]),
        platform(frames=[["f", 1 << 40, "n", ""]]),
        platform(frames=[["\0", 1, "n", ""]]),
        platform(frames=[["f", 1, "n", "", 1, 1 << 40, 1]]),
        platform(cause=7),
        platform(notes=7),
    ],
)
def test_a_fault_that_cannot_be_read_is_an_internal_error(fault: bytes):
    with pytest.raises(errors.InternalError, match="could not be read"):
        faults.decode_fault(fault)


def test_positions_are_left_out_where_python_has_none():
    code = compile("x", "<c>", "eval")
    assert faults._position(code.replace(co_linetable=b""), 0) == []
    assert faults._position(object(), 0) == []  # type: ignore[arg-type]  # code before 3.11


def _travelled(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001  # it is what travels
        return faults.decode_fault(faults.encode_fault(raised))


def test_the_exceptions_of_a_group_arrive_one_by_one() -> None:
    """Those that can be pickled as themselves, the others as what stands in for them."""
    made = _travelled(ExceptionGroup("two", [PlainError("one"), UnpicklableError("other")]))
    assert isinstance(made, ExceptionGroup)
    assert made.message == "two"
    first, second = made.exceptions
    assert type(first) is PlainError
    assert type(second) is errors.RemoteError
    assert "other" in str(second)


def test_a_group_keeps_what_was_put_on_it() -> None:
    group = ExceptionGroup("one", [PlainError("a")])
    group.attempt = 3  # type: ignore[attr-defined]  # users may
    assert _travelled(group).__dict__["attempt"] == 3


def test_a_group_that_cannot_be_pickled_arrives_as_text() -> None:
    group = ExceptionGroup("one", [PlainError("a")])
    group.handle = sys._getframe()  # type: ignore[attr-defined]  # users may
    made = _travelled(group)
    assert type(made) is errors.RemoteError
    assert "one" in str(made)


def test_a_group_that_is_too_large_says_how_many_are_missing() -> None:
    many = [PlainError(str(number)) for number in range(faults.MEMBERS_MAX + 3)]
    made = _travelled(ExceptionGroup("many", many))
    assert isinstance(made, ExceptionGroup)
    assert len(made.exceptions) == faults.MEMBERS_MAX
    assert "3 more exceptions are not shown" in made.__notes__
