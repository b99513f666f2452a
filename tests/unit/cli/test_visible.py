"""What is printed by programs and shown on terminals: nothing that these obey but colours."""

from __future__ import annotations

import pytest

from volant.cli.shared.visible import Printed, visible


def shown(*parts: bytes, stream: str = "stdout") -> str:
    printed = Printed()
    return "".join(printed.of({"container_id": "c", "stream": stream, "data": d}) for d in parts)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"plain\ttext\r\n", "plain\ttext\r\n"),
        (b"\x1b[1;31mred\x1b[0m\x1b[K", "\x1b[1;31mred\x1b[0m\x1b[K"),
        (b"\x1b]0;title\x07", "^[]0;title^G"),
        (b"\x1b[6n\x1b[2J\x1bc\x7f", "^[[6n^[[2J^[c^?"),
        ("\x9b6n".encode(), "\\x9b6n"),
        (b"\x9b6n", "\ufffd6n"),
        ("grüße".encode(), "grüße"),
    ],
)
def test_colours_stay_and_other_sequences_are_seen(said: bytes, text: str) -> None:
    assert shown(said) == text


def test_what_comes_in_parts_is_no_way_around() -> None:
    assert shown(b"\x1b", b"]0;x\x07") == "^[]0;x^G"
    assert shown(b"\x1b[3", b"1mred") == "^[[31mred"
    assert shown(b"\xc2", b"\x9b6n") == "\\x9b6n"
    assert shown(b"gr\xc3", b"\xbc\xc3\x9fe") == "grüße"


def test_in_a_line_of_ours_everything_is_seen() -> None:
    assert visible("a\nb\x1b[31mc\x85") == "a^Jb^[[31mc\\x85"
