"""Options from signatures (behaviours 128, 129 and 145)."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Literal, Optional

import pytest

import volant
from volant.cli import parameters
from volant.cli.failures import Refused
from volant.cli.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable


def _parse(raw: Callable[..., Any], *words: str) -> Any:
    app = volant.App("parameters")
    entrypoint = app.local_entrypoint()(raw)
    return parameters.parse(Target(app, "file.py", entrypoint, None), list(words))


def _refusal(raw: Callable[..., Any], *words: str) -> str:
    with pytest.raises(Refused) as refused:
        _parse(raw, *words)
    assert refused.value.exit_code == 2
    return "\n".join([str(refused.value), *refused.value.hints])


def everything(
    count: int,
    name: str,
    ratio: float = 0.5,
    fast: bool = True,
    when: datetime.datetime | None = None,
    mode: Literal["slow", "quick", 3] = "slow",
    limit: Optional[int] = None,  # noqa: UP045  # the old form is one of those to take
    bare="text",  # as are parameters without annotation
    number=7,
    nothing=None,
) -> None:
    pass


def needs_any(value) -> None:
    pass


def text_annotation(count: int, flag: bool) -> None:
    pass


def takes_tail(*args: str, count: int = 1) -> None:
    pass


def leads_tail(first: int, *args: str) -> None:
    pass


def positional(first: int, /, second: int = 2) -> None:
    pass


def union(value: int | str) -> None:
    pass


def keywords(**values: int) -> None:
    pass


def unreadable(value: NotThere) -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (["--ratio", "2"], {"ratio": 2.0}),
        (["--ratio=-1e3"], {"ratio": -1000.0}),
        (["--no-fast"], {"fast": False}),
        (["--no-fast", "--fast"], {"fast": True}),
        (["--when", "2024-05-01"], {"when": datetime.datetime(2024, 5, 1)}),  # noqa: DTZ001
        (["--when", "2024-05-01T12:30:05"],
         {"when": datetime.datetime(2024, 5, 1, 12, 30, 5)}),  # noqa: DTZ001
        (["--when", "2024-05-01 12:30+00:00"],
         {"when": datetime.datetime(2024, 5, 1, 12, 30, tzinfo=datetime.UTC)}),
        (["--mode", "quick"], {"mode": "quick"}),
        (["--mode", "3"], {"mode": 3}),
        (["--limit", "9"], {"limit": 9}),
        (["--bare", "5"], {"bare": "5"}),
        (["--number", "5"], {"number": 5}),
        (["--nothing", "5"], {"nothing": "5"}),
        (["--name", "--fast"], {"name": "--fast"}),
    ],
)  # fmt: skip
def test_words_become_values_of_the_annotated_type(
    word: list[str], expected: dict[str, object]
) -> None:
    """Behaviours 128 and 129."""
    _, kwargs = _parse(everything, "--count", "1", "--name", "n", *word)
    assert kwargs == {"count": 1, "name": "n", **expected}
    assert [type(kwargs[key]) for key in expected] == [type(one) for one in expected.values()]


def test_an_unannotated_parameter_without_default_is_text() -> None:
    """Behaviour 129."""
    assert _parse(needs_any, "--value", "5") == ((), {"value": "5"})


def test_underscores_become_dashes() -> None:
    """Behaviour 145."""

    def raw(long_name: int, is_dry_run: bool = False) -> None:
        pass

    assert _parse(raw, "--long-name", "1", "--no-is-dry-run")[1] == {
        "long_name": 1,
        "is_dry_run": False,
    }


def test_the_tail_is_raw_from_the_first_word_that_is_no_option() -> None:
    """Behaviour 145."""
    assert _parse(takes_tail, "a", "--count", "2", "--other") == (
        ("a", "--count", "2", "--other"),
        {},
    )
    assert _parse(takes_tail, "--count", "2", "--other", "x") == (("--other", "x"), {"count": 2})
    assert _parse(takes_tail, "--", "--count") == (("--count",), {})
    assert _parse(takes_tail) == ((), {})
    assert _parse(leads_tail, "--first", "1", "x") == ((1, "x"), {})


def test_positional_only_parameters_are_options_too() -> None:
    assert _parse(positional, "--first", "1") == ((1,), {})
    assert _parse(positional, "--first", "1", "--second", "3") == ((1,), {"second": 3})


def test_help_is_recognised_among_the_words() -> None:
    assert _parse(everything, "--count", "1", "--help") is None


@pytest.mark.parametrize(
    ("raw", "words", "expected"),
    [
        (everything, [], "missing options `--count INT`, `--name STR`"),
        (everything, [], "`volant run file.py --count 1 --name text`"),
        (everything, ["--count", "x"], "option `--count` takes an integer, not `x`"),
        (everything, ["--ratio", "x"], "option `--ratio` takes a number, not `x`"),
        (everything, ["--when", "noon"], "takes a date and time such as 2024-05-01T12:30, not"),
        (everything, ["--mode", "fast"], "takes one of `slow`, `quick`, `3`, not `fast`"),
        (everything, ["--mode", "quik"], "did you mean `quick`?"),
        (everything, ["--fast=1"], "option `--fast` takes no value"),
        (everything, ["--count"], "option `--count` needs a value"),
        (everything, ["--cuont", "1"], "did you mean `--count`?"),
        (everything, ["--detach"], "`--detach` of `volant run` goes before the file"),
        (everything, ["5"], "unexpected argument `5`: options are given by name"),
        (everything, ["5"], "`volant run file.py --count 5`"),
        (
            everything,
            ["--fast", "yes"],
            "`yes`: option `--fast` takes no value\n`--fast / --no-fast`",
        ),
        (everything, ["--no-fast", "yes"], "`--fast / --no-fast`"),
        (everything, ["-count", "1"], "there is no option `-count`\ndid you mean `--count`?"),
        (text_annotation, ["--count", "1"], "missing option `--flag / --no-flag`"),
        (union, ["--value", "1"], "parameter `value: int | str` cannot be made an option"),
        (keywords, [], "`**values` cannot be made options"),
        (unreadable, [], "an annotation cannot be read: name 'NotThere' is not defined"),
    ],
)
def test_a_wrong_word_is_refused_by_name(
    raw: Callable[..., Any], words: list[str], expected: str
) -> None:
    """Behaviour 128: a bad value exits with 2, `int | str` is refused."""
    assert expected in _refusal(raw, *words)


def test_dashes_alone_make_no_option_look_like_another() -> None:
    def one(x: int) -> None: ...

    assert "did you mean" not in _refusal(one, "--y", "1")
    assert "did you mean `--x`?" in _refusal(one, "-x", "1")
