"""Words of instructions: variables, quotes, flags, lists."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from volantd.images.dockerfile import words

SEEN = {"A": "one", "B": "two words", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\tc", ["a", "b", "c"]),
        ("  a  ", ["a"]),
        ("'a b' c", ["a b", "c"]),
        ('"a b"c', ["a bc"]),
        (r"a\ b", ["a b"]),
        ("''", [""]),
        ("$A", ["one"]),
        ("${A}s/$A", ["ones/one"]),
        ('"$B" $B', ["two words", "two words"]),
        ("'$A'", ["$A"]),
        (r"\$A", ["$A"]),
        (r'"\$A \" \n"', [r'$A " \n']),
        ("${NONE:-other}", ["other"]),
        ("${EMPTY:-$A}", ["one"]),
        ("${A:-other}", ["one"]),
        ("${A:+$B}", ["two words"]),
        ("${EMPTY:+x}y", ["y"]),
        ("$NONE", []),
        ("100$", ["100$"]),
    ],
)
def test_words_are_split_and_variables_put_in(text: str, expected: list[str]) -> None:
    assert words.split(text, SEEN) == expected


@pytest.mark.parametrize("text", ["'a", '"a', "${A", "${A%x}", "${A:?gone}"])
def test_what_is_no_word_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a quote in|a variable in"):
        words.split(text, SEEN)


def test_one_text_keeps_its_spaces() -> None:
    assert words.expand(' a  "b $A" ', SEEN) == " a  b one "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1 B='2 3'", {"A": "1", "B": "2 3"}),
        ("A=$A,x", {"A": "one,x"}),
        ("A 1 2  3", {"A": "1 2  3"}),
        (r"A=a\ b", {"A": "a b"}),
        ("A=", {"A": ""}),
    ],
)
def test_pairs(text: str, expected: dict[str, str]) -> None:
    assert words.pairs(text, SEEN) == expected


@pytest.mark.parametrize("text", ["", "A", "A=1 B", "=1"])
def test_what_sets_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"sets nothing|no NAME=VALUE"):
        words.pairs(text, SEEN)


def test_flags_come_first() -> None:
    text = "--mount=type=cache,target=/c --mount=type=bind,target=/b --link cp --from=x a"
    expected = {"mount": ["type=cache,target=/c", "type=bind,target=/b"], "link": ["true"]}
    assert words.flags(text) == (expected, "cp --from=x a")
    assert words.flags("plain --x") == ({}, "plain --x")


def test_lists_are_of_texts() -> None:
    assert words.listed('["a", "b c"]') == ["a", "b c"]
    assert words.listed("[ -d x ] && y") is None
    assert words.listed('["a", 1]') is None
    assert words.listed("a b") is None


@given(st.text(alphabet="a $'\"\\{}:-+A\t"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = words.split(text, SEEN)
    except ValueError:
        return
    assert all(isinstance(word, str) for word in found)


@given(st.lists(st.text(alphabet="ab \\'\"$", min_size=1)))
def test_quoted_words_come_back(given_words: list[str]) -> None:
    import shlex

    assert words.split(shlex.join(given_words), {}) == given_words
