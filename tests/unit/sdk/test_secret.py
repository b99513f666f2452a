"""Secrets: what their constructors take, and that values show nowhere."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import volant
from volant import Secret, _context
from volant.errors import InvalidError, NotFoundError
from volant.sdk.objects.secret import VALUE_CHARS_MAX, given_by

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HIDDEN = Secret.from_dict({"KEY": "hidden", "OTHER": "hidden too"})


def test_a_dict_without_its_nones() -> None:
    """Behaviour 107."""
    assert given_by("", [Secret.from_dict({"A": "1", "B": None, "C": ""})])[1] == {
        "A": "1",
        "C": "",
    }
    for wrong in ({"A": 1}, {"A": b"1"}, {1: "A"}, ["A"]):
        with pytest.raises(InvalidError, match="string"):
            Secret.from_dict(wrong)  # type: ignore[arg-type]  # which is what is tested


def test_later_secrets_win() -> None:
    secrets = [Secret.from_dict({"A": "1", "B": "1"}), Secret.from_dict({"B": "2"})]
    assert given_by("", secrets)[1] == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Secret.from_dict({"A": 1}), r"the value of 'A' must be a string, got int"),
        (lambda: Secret.from_dict([("A", "1")]), r"needs a dict of strings to strings, got list"),
        (lambda: Secret.from_dict({"A=B": "1"}), r"'A=B' cannot be the name"),
        (lambda: Secret.from_dict({"A": "x" * (VALUE_CHARS_MAX + 1)}), r"'A' is too long"),
        (lambda: Secret.from_local_environ("PATH"), r"needs a list of names, got 'PATH'"),
        (lambda: given_by("f", HIDDEN), r"f: secrets must be a list"),
        (lambda: volant.App(secrets=["x"]), r"secrets must be a list"),
        (lambda: volant.App().function(secrets=["x"]), r"secrets must be a list"),
    ],
)
def test_what_is_no_secret_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        make()


def test_values_are_not_shown_or_pickled() -> None:
    assert repr(HIDDEN) == "<volant.Secret of KEY, OTHER>"
    assert b"hidden" not in pickle.dumps(HIDDEN)
    image = volant.Image.from_registry("x", HIDDEN).run_commands("true", secrets=[HIDDEN])
    assert b"hidden" not in pickle.dumps(image)
    assert "hidden" not in repr(image)
    assert HIDDEN.names == ["KEY", "OTHER"]


def test_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behaviour 107."""
    monkeypatch.setenv("ONE", "1")
    assert given_by("", [Secret.from_local_environ(["ONE"])])[1] == {"ONE": "1"}
    with pytest.raises(NotFoundError, match="NOT_SET is not set"):
        Secret.from_local_environ(["ONE", "NOT_SET"])
    monkeypatch.setattr(_context, "container_id", "ta-1")
    assert Secret.from_local_environ(["NOT_SET"]).names == []


DOTENV = r"""
# comment
PLAIN=a b # comment
export EXPORTED = spaced
SINGLE='a # \n b'
DOUBLE="a\nb \"c\" \\" # comment
EMPTY=
HASH=a#b
"""


def test_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behaviour 107. It is looked for in the directories above, too."""
    (tmp_path / ".env").write_text(DOTENV)
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    expected = {
        "PLAIN": "a b", "EXPORTED": "spaced", "SINGLE": r"a # \n b", "DOUBLE": 'a\nb "c" \\',
        "EMPTY": "", "HASH": "a#b",
    }  # fmt: skip
    assert given_by("", [Secret.from_dotenv(below)])[1] == expected
    monkeypatch.chdir(below)
    assert given_by("", [Secret.from_dotenv()])[1] == expected
    (tmp_path / ".env-dev").write_text("PLAIN=other\n")
    assert given_by("", [Secret.from_dotenv(filename=".env-dev")])[1] == {"PLAIN": "other"}
    with pytest.raises(NotFoundError, match=r"no absent\.env in"):
        Secret.from_dotenv(filename="absent.env")


@pytest.mark.parametrize("line", ["novalue", "A B=1", "'A'=1", 'A="open'])
def test_a_line_that_sets_nothing_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"A=1\n{line}\n")
    with pytest.raises(InvalidError, match=r"\.env, line 2"):
        Secret.from_dotenv(tmp_path)


def test_what_is_stored_is_a_reference_in_its_place_among_values() -> None:
    stored = Secret.from_name("db", environment_name="dev", required_keys=["PASSWORD"])
    first, second = Secret.from_dict({"A": "1"}), Secret.from_dict({"B": "2"})
    reference = {"name": "db", "environment": "dev", "keys": ["PASSWORD"]}
    assert given_by("", [first, stored, second]) == (
        [{"values": {"A": "1"}}, reference], {"B": "2"},
    )  # fmt: skip
    assert given_by("", [second], given_by("", [stored])) == ([reference], {"B": "2"})
    assert repr(stored) == "<volant.Secret db>"
    assert stored.names == ["PASSWORD"]
    assert given_by("", [pickle.loads(pickle.dumps(stored))]) == ([reference], {})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Secret.from_name("a b"), "'a b' cannot be the name of a Secret"),
        (lambda: Secret.from_name("a/b"), "'a/b' cannot be the name of a Secret"),
        (lambda: Secret.from_name("x" * 65), "cannot be the name of a Secret"),
        (lambda: Secret.from_name("db", required_keys="KEY"), "must be a list of names"),
        (Secret.ephemeral, "made by Secret.from_dict"),
        (lambda: HIDDEN.update({"A": "1"}), "this secret is not stored"),
        (HIDDEN.info, "this secret is not stored"),
        (lambda: Secret.from_name("db").update({"A": 1}), "the value of 'A' must be a string"),
        (lambda: Secret.objects.create("a b", {}), "'a b' cannot be the name"),
        (lambda: Secret.objects.create("db", {"A=": "x"}), "'A=' cannot be the name"),
    ],
)
def test_what_cannot_be_stored_is_refused_without_asking(
    make: Callable[[], object], said: str
) -> None:
    """Behaviour 98."""
    with pytest.raises(InvalidError, match=said):
        make()


def test_no_error_tells_a_value() -> None:
    with pytest.raises(InvalidError, match="got dict") as caught:
        volant.App(secrets={"KEY": "hidden"})  # type: ignore[arg-type]
    assert "hidden" not in str(caught.value)
    with pytest.raises(InvalidError, match="got list of Secret, str") as caught:
        volant.App(secrets=[HIDDEN, "hidden"])
    assert "hidden" not in str(caught.value)


def test_what_is_stored_is_a_reference_in_steps_too() -> None:
    token = Secret.from_name("index", required_keys=["TOKEN"])
    image = volant.Image.from_registry("x", token).run_commands("true", secrets=[HIDDEN, token])
    wire: Any = image.to_wire()
    reference = {"name": "index", "environment": None, "keys": ["TOKEN"]}
    assert wire["steps"][0]["auth"] == ["TOKEN"]
    assert wire["steps"][1]["secrets"] == ["KEY", "OTHER", "TOKEN"]
    assert wire["stored"]["0"] == {"auth": [reference]}
    assert wire["stored"]["1"]["secrets"][1] == reference
    assert b"hidden" not in pickle.dumps(image)


def test_values_of_a_step_are_sent_beside_it() -> None:
    """Its key has the names alone, so a changed value builds nothing anew."""
    image = volant.Image.from_registry("x", HIDDEN).run_commands("true", secrets=[HIDDEN])
    wire: Any = copy.copy(image).to_wire()
    assert wire["steps"][0]["auth"] == wire["steps"][1]["secrets"] == ["KEY", "OTHER"]
    values = {"KEY": "hidden", "OTHER": "hidden too"}
    assert wire["secrets"] == {"0": {"auth": values}, "1": {"secrets": values}}
