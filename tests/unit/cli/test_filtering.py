"""Which lines of logs are shown, and the time in front of them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from volant.cli.failures import Refused
from volant.cli.shared.filtering import Filter, Stamped, moment, stamp


def entry(data: bytes = b"one\ntwo\n", **fields: Any) -> dict[str, Any]:
    return {
        "time": 1e9, "stream": "stdout", "function": "f", "container_id": "ta-1", "data": data,
        "calls": ["fc-1"], **fields,
    }  # fmt: skip


def shown(only: Filter, **fields: Any) -> list[bytes]:
    return [line["data"] for line in only.lines(entry(**fields))]


def test_without_a_wish_everything_is_shown() -> None:
    assert Filter().is_plain
    assert shown(Filter()) == [b"one\n", b"two\n"]


@pytest.mark.parametrize(
    ("wish", "count"),
    [
        ({"since": "2001-09-09T01:46:41+00:00"}, 0),
        ({"since": "2001-09-09T01:46:40+00:00"}, 2),
        ({"until": "2001-09-09T01:46:39+00:00"}, 0),
        ({"since": "1h"}, 0),
        ({"until": "1h ago"}, 2),
        ({"search": "tw"}, 1),
        ({"source": "stderr"}, 0),
        ({"source": "stdout"}, 2),
        ({"function": "g"}, 0),
        ({"function": "f", "of_container": "ta-1", "function_call": "fc-1"}, 2),
        ({"of_container": "ta-2"}, 0),
        ({"function_call": "fc-2"}, 0),
    ],
)
def test_a_wish_leaves_lines_out(wish: dict[str, Any], count: int) -> None:
    only = Filter(**wish)
    assert only.leaves_out
    assert len(shown(only)) == count


def test_lines_begin_with_their_time() -> None:
    only = Filter(timestamps=True)
    assert not only.is_plain
    assert not only.leaves_out
    assert shown(only) == [b"one\n", b"two\n"]
    assert only.marked(entry(b"one\n"))["data"] == stamp(1e9) + b"one\n"
    assert len(stamp(1e9)) == len("2001-09-09 01:46:40.000 ")


def test_lines_tell_where_they_come_from() -> None:
    only = Filter(show_function_id=True, show_function_call_id=True, show_container_id=True)
    assert not only.is_plain
    assert only.marked(entry(b"one\n"))["data"] == b"f fc-1 ta-1 one\n"
    assert only.marked(entry(b"one\n", calls=[]))["data"] == b"f - ta-1 one\n"


def test_a_line_that_comes_in_parts_has_one_time() -> None:
    """And those of another program in between have theirs."""
    stamped = Stamped()
    assert stamped(entry(b"be")) == stamp(1e9) + b"be"
    assert stamped(entry(b"x\n", container_id="ta-2")) == stamp(1e9) + b"x\n"
    assert stamped(entry(b"gun\nnext\n")) == b"gun\n" + stamp(1e9) + b"next\n"


def test_moments_are_ages_or_dates() -> None:
    assert moment("--since", "2h") == pytest.approx(time.time() - 7200, abs=60)
    assert moment("--since", "3 d".replace(" ", "")) < moment("--since", "1d ago")
    with pytest.raises(Refused, match="`--until soon` is no moment"):
        moment("--until", "soon")
