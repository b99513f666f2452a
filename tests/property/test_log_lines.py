"""The tail of a log against the text that was printed, however the pipes were read."""

from __future__ import annotations

from hypothesis import given, strategies as st

from volantd.agent.logs import last_lines

PIPES = [("ta-1", "stdout"), ("ta-1", "stderr"), ("ta-2", "stdout")]
texts = st.binary(max_size=12).map(lambda data: bytes(b"ab\r\n"[byte % 4] for byte in data))
entries = st.lists(st.tuples(st.sampled_from(PIPES), texts.filter(bool)), max_size=12)


def lines_of(text: bytes) -> list[bytes]:
    """Lines with their ends; the last may have none."""
    *whole, rest = text.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def join(rows: list[dict[str, object]], pipe: tuple[str, str]) -> bytes:
    return b"".join(
        bytes(row["data"])  # type: ignore[call-overload]  # it is bytes
        for row in rows
        if (row["container_id"], row["stream"]) == pipe
    )


@given(entries, st.integers(0, 12))
def test_a_tail_is_so_many_whole_lines(
    printed: list[tuple[tuple[str, str], bytes]], count: int
) -> None:
    rows = [
        {"container_id": container, "stream": stream, "data": data}
        for (container, stream), data in printed
    ]
    tail = last_lines(rows, count)
    shown = 0
    for pipe in PIPES:
        everything, last = lines_of(join(rows, pipe)), lines_of(join(tail, pipe))
        assert last == everything[len(everything) - len(last) :], "whole lines, the last ones"
        shown += len(last)
    every = sum(len(lines_of(join(rows, pipe))) for pipe in PIPES)
    assert shown == min(count, every)


def test_a_tail_keeps_the_order_of_the_entries() -> None:
    rows = [
        {"container_id": "ta-1", "stream": "stdout", "data": b"one\ntwo\nthr"},
        {"container_id": "ta-2", "stream": "stdout", "data": b"other\n"},
        {"container_id": "ta-1", "stream": "stdout", "data": b"ee\n"},
    ]
    assert [row["data"] for row in last_lines(rows, 1)] == [b"thr", b"ee\n"]
    assert [row["data"] for row in last_lines(rows, 2)] == [b"thr", b"other\n", b"ee\n"]
    assert [row["data"] for row in last_lines(rows, 3)] == [b"two\nthr", b"other\n", b"ee\n"]
