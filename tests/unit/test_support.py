"""What tests say of long contents that differ."""

from __future__ import annotations

import pytest

from tests.support import same

CONTENT = bytes(range(256)) * 400


def test_the_same_contents_are_the_same() -> None:
    assert same(bytearray(CONTENT), CONTENT)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (CONTENT[:-1], "102399 bytes, expected 102400; from byte 102399 on: b'', expected b'.xff'"),
        (
            CONTENT + b"more",
            "102404 bytes, expected 102400; from byte 102400 on: b'more', expected",
        ),
        (b"ab" + CONTENT[2:], r"102400 bytes, expected 102400; from byte 0 on: b'ab.x02"),
    ],
)
def test_lengths_and_the_first_difference_are_said(found: bytes, said: str) -> None:
    with pytest.raises(AssertionError, match=said) as raised:
        same(found, CONTENT)
    assert len(str(raised.value)) < 250
