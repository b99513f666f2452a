"""Apps: their names and tags, what they include, and what is left of them when they end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import defining
from tests.behaviours.programs import ask
from volant.errors import ExecutionError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

idle_app = volant.App("idle")


@idle_app.function()
def never_called(value: int) -> int:
    return value


@idle_app.function()
def never_iterated(value: int) -> Iterator[int]:
    yield value


@pytest.mark.parametrize("name", ["", "two words", "what!", "x" * 65])
def test_names_that_cannot_be_looked_up_are_refused(name: str) -> None:
    """Behaviour 71: of apps, runs and deployments; letters, digits and `-._` up to 64."""
    with pytest.raises(InvalidError, match="cannot be the name"):
        volant.App("good").run(name=name)
    with pytest.raises(InvalidError, match="cannot be the name"):
        volant.App("good").deploy(name=name)
    with pytest.raises(InvalidError, match="cannot be the name"):
        volant.App.lookup(name)
    with pytest.raises(InvalidError, match="cannot be the name"):
        volant.App(name)


@pytest.mark.parametrize("text", ["", "two words", "what!", "x" * 65, "\x1b[2J", 7])
def test_tags_are_named_like_apps(text: str) -> None:
    """Behaviour 71: their names and their values, wherever they are given."""
    for tags in ({text: "value"}, {"name": text}):
        with pytest.raises(
            InvalidError, match=r"cannot be the (name of a tag|value of tag 'name')"
        ):
            volant.App(tags=tags)
        with pytest.raises(InvalidError, match="cannot be"):
            idle_app.set_tags(tags)
    assert volant.App(tags={"x" * 64: "a-b.c_d"}).get_tags() == {"x" * 64: "a-b.c_d"}


def test_tags_that_are_none_are_refused() -> None:
    """Behaviour 71: what is no dict, and too many of them."""
    with pytest.raises(InvalidError, match="must be a dict"):
        volant.App(tags=["team"])  # type: ignore[arg-type]  # that is the test
    with pytest.raises(InvalidError, match="65 tags for one app, at most 64"):
        volant.App(tags={f"t{number}": "x" for number in range(65)})


def tags_shown(home: Path, app_id: str | None) -> object:
    return next(row["tags"] for row in ask(home, "app_list")["apps"] if row["app_id"] == app_id)


def test_tags_travel_with_the_app_and_may_change(volant_home: Path) -> None:
    """Section 1.1: what `volant app list` shows, also when they are set while it runs."""
    app = volant.App("tagged", tags={"team": "ml"})
    app.include(idle_app)
    with app.run():
        assert tags_shown(volant_home, app.app_id) == {"team": "ml"}
        app.set_tags({"team": "web", "stage": "dev"})
        assert tags_shown(volant_home, app.app_id) == {"team": "web", "stage": "dev"}
        asyncio.run(app.set_tags.aio({"stage": "live"}))
        assert tags_shown(volant_home, app.app_id) == {"stage": "live"}
    assert app.get_tags() == asyncio.run(app.get_tags.aio()) == {"stage": "live"}


def test_include_inherits_tags_unless_told_not_to() -> None:
    """Behaviour 72: its own win."""
    other = volant.App("other", tags={"team": "ml", "stage": "dev"})
    assert volant.App(tags={"team": "web"}).include(other).get_tags() == {
        "team": "web", "stage": "dev",
    }  # fmt: skip
    kept = volant.App(tags={"team": "web"}).include(other, inherit_tags=False)
    assert kept.get_tags() == {"team": "web"}
    assert other.get_tags() == {"team": "ml", "stage": "dev"}


def test_handles_lose_their_app_when_it_ends() -> None:
    """Behaviour 69: calls are refused again, and the id vanishes."""
    with idle_app.run():
        assert str(idle_app.app_id).startswith("ap-")
        assert str(never_called.object_id).startswith("fu-")
        assert never_called.hydrate() is never_called
        assert asyncio.run(never_called.hydrate.aio()) is never_called
        assert never_called.remote(4) == 4
    assert idle_app.app_id is None
    assert never_called.object_id is None
    with pytest.raises(ExecutionError, match="hydrated"):
        never_called.hydrate()
    with pytest.raises(ExecutionError, match="hydrated"):
        never_called.remote(4)


def test_an_interrupt_ends_an_app_and_goes_on() -> None:
    """Behaviour 70: whoever runs the app may catch it, and run the app again."""
    with pytest.raises(KeyboardInterrupt), idle_app.run():
        raise KeyboardInterrupt
    assert idle_app.app_id is None
    assert never_called.object_id is None
    with idle_app.run():
        assert never_called.remote(4) == 4


def test_methods_lose_their_app_when_it_ends() -> None:
    """Behaviour 69: of classes, and of apps that were included."""
    app = volant.App("ending")

    @app.cls(serialized=True)
    class Ending:
        @volant.method()
        def answer(self) -> int:
            return 42

    made: Any = Ending
    kept = made()
    whole = volant.App("whole")
    whole.include(app)
    for running in (app, whole):
        with running.run():
            assert kept.answer.remote() == 42
            assert str(made.object_id).startswith("fu-")
        assert made.object_id is None
        assert kept.answer.object_id is None
        with pytest.raises(ExecutionError, match="hydrated"):
            kept.answer.remote()


def test_an_app_may_run_again_but_not_twice_at_once() -> None:
    """Behaviour 69: each run has its own id."""
    with idle_app.run() as running:
        first = running.app_id
        with pytest.raises(InvalidError, match="runs already"):
            idle_app.run().__enter__()
    with idle_app.run() as running:
        assert running.app_id != first


def test_include_warns_of_a_function_that_it_replaces() -> None:
    """Behaviour 72: naming both modules; the one that came last is there."""
    whole, other = volant.App("whole"), volant.App("other")
    whole.function(name="same")(never_called._raw)
    function = other.function(name="same")(defining.not_decorated_at_once)
    with pytest.warns(UserWarning, match=rf"'same'.*{__name__}.*{defining.__name__}"):
        whole.include(other)
    assert whole.registered_functions["same"] is function


def test_include_merges_the_functions_of_another_app() -> None:
    """Behaviour 72: they run under the app that includes them."""
    whole = volant.App("whole")
    assert whole.include(idle_app) is whole
    with whole.run():
        assert never_called.remote(3) == 3
    assert set(whole.registered_functions) == {"never_called", "never_iterated"}
