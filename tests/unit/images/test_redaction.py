"""Hidden texts: never told, however what a step prints is cut into pieces."""

from __future__ import annotations

from hypothesis import given, strategies

from volantd.images.redaction import Redacted, redacted

HIDDEN = ("reader:secret", "secret", "abab")


def told(pieces: list[bytes]) -> bytes:
    said: list[bytes] = []
    filtered = Redacted(said.append, HIDDEN)
    for piece in pieces:
        filtered(piece)
    filtered.end()
    return b"".join(said)


def test_a_text_is_hidden_across_pieces() -> None:
    assert told([b"from reader:se", b"cret@host\n", b"ab", b"abc"]) == b"from ***@host\n***c"


def test_what_only_begins_like_one_is_told_at_the_end() -> None:
    assert told([b"a secre"]) == b"a secre"


def test_nothing_is_held_back_without_need() -> None:
    said: list[bytes] = []
    filtered = Redacted(said.append, HIDDEN)
    filtered(b"Resolved 3 packages\n")
    assert said == [b"Resolved 3 packages\n"]


@given(strategies.lists(strategies.sampled_from([*"abces rt:@", "secret", "reader:", "ab"])))
def test_no_cut_shows_a_hidden_text(words: list[str]) -> None:
    text = "".join(words)
    shown = told([word.encode() for word in words]).decode()
    assert not any(one in shown for one in HIDDEN)
    if not any(one in text for one in HIDDEN):
        assert shown == text == redacted(text, HIDDEN)
