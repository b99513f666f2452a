"""Deployments under names that others had before, such that fail, and what is looked up there."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.programs import containers, program_file, run_program
from volant.errors import ExecutionError, InvalidError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def answer() -> str:
    return "function"


class Answering:
    @volant.method()
    def answer(self) -> str:
        return "class"


@pytest.fixture
def changing() -> Iterator[str]:
    """The name of an app of this test; what is deployed under it ends with the test."""
    yield "changing"
    with contextlib.suppress(NotFoundError):
        volant.App.lookup("changing").stop()


def _answering_function(app_name: str) -> Any:
    return volant.Function.from_name(app_name, "Answering")


def _answering_method(app_name: str) -> Any:
    found: Any = volant.Cls.from_name(app_name, "Answering")
    return found().answer


def test_a_name_may_be_a_function_first_and_a_class_later(changing: str) -> None:
    """Behaviour 67: and the other way round; the app keeps its id, and old handles say so."""
    first, second = volant.App(changing), volant.App(changing)
    first.function(serialized=True, name="Answering")(answer)
    second.cls(serialized=True)(Answering)
    app_ids = []
    handles: list[Any] = []
    for app in (first, second, first):
        app.deploy()
        app_ids.append(volant.App.lookup(changing).app_id)
        for handle in handles:
            with pytest.raises(NotFoundError, match="`Answering` since version"):
                handle.remote()
        forms = {"function": _answering_function, "class": _answering_method}
        there = forms.pop("class" if app is second else "function")(changing)
        assert there.remote() == ("class" if app is second else "function")
        [other] = forms.values()
        with pytest.raises(NotFoundError, match="has no such"):
            other(changing).remote()
        handles = [there]
    assert len(set(app_ids)) == 1


def test_the_name_of_a_deployment_comes_before_that_of_its_app(changing: str) -> None:
    """Behaviour 68: of `deploy(name=)`."""
    app = volant.App("written")
    app.function(serialized=True)(answer)
    app.deploy(name=changing)
    assert volant.Function.from_name(changing, "answer").remote() == "function"
    with pytest.raises(NotFoundError, match="there is no app 'written'"):
        volant.App.lookup("written")


def test_an_unknown_secret_leaves_nothing_deployed(changing: str, volant_home: Path) -> None:
    """Behaviour 68: no app and no container, and a version before goes on."""

    lacking = volant.App(changing)
    secret = volant.Secret.from_name("not-there")
    lacking.function(serialized=True, secrets=[secret], name="lacking")(answer)
    lacking.function(serialized=True, min_containers=1, name="eager")(answer)
    with pytest.raises(NotFoundError, match="there is no secret 'not-there'"):
        lacking.deploy()
    with pytest.raises(NotFoundError, match="there is no app 'changing'"):
        volant.App.lookup(changing)
    assert not containers(volant_home, function="lacking")
    assert not containers(volant_home, function="eager")
    good = volant.App(changing)
    good.function(serialized=True)(answer)
    good.deploy()
    with pytest.raises(NotFoundError, match="there is no secret 'not-there'"):
        lacking.deploy()
    assert volant.App.lookup(changing).info().lifecycle.version == 1
    assert volant.Function.from_name(changing, "answer").remote() == "function"


class Reaching:
    size: int = volant.parameter(default=1)

    @volant.method()
    def describe(self) -> tuple[int, str]:
        return self.size, os.environ.get("COLOUR", "")

    @volant.fastapi_endpoint()
    def web(self) -> int:
        return self.size


@volant.fastapi_endpoint()
def endpoint() -> int:
    return 1


FORMS = ["remote", "spawn", "remote_gen", "map", "starmap", "for_each", "spawn_map"]


@pytest.fixture
def reaching(changing: str) -> str:
    """The name of a deployed app that answers to the web."""
    app = volant.App(changing)
    app.function(serialized=True)(endpoint)
    app.cls(serialized=True)(Reaching)
    app.deploy()
    return changing


def test_what_answers_to_the_web_is_not_called_where_it_was_looked_up(reaching: str) -> None:
    """Behaviour 16: functions and methods, in each form, as where they are defined."""
    found: Any = volant.Cls.from_name(reaching, "Reaching")
    function: Any = volant.Function.from_name(reaching, "endpoint")

    async def call(made: Any) -> None:
        await made if inspect.isawaitable(made) else [value async for value in made]

    for handle, name in ((function, "endpoint"), (found().web, "Reaching.web")):
        for form in FORMS:
            text = rf"`{name}` .*webhook.*cannot be called with \.{form}\(\)"
            with pytest.raises(InvalidError, match=text) as refused:
                getattr(handle, form)([()])
            assert handle.get_web_url() in (refused.value.hint or "")
            with pytest.raises(InvalidError, match="webhook"):
                asyncio.run(call(getattr(handle, form).aio([()])))


def test_a_method_that_was_looked_up_can_have_other_options(reaching: str) -> None:
    """Behaviour 45: they are those of its object's class, with the same parameters."""
    found: Any = volant.Cls.from_name(reaching, "Reaching")
    describe = found(size=3).describe
    red = describe.with_options(env={"COLOUR": "red"})
    assert red.remote() == red.with_options(timeout=20).remote() == (3, "red")
    assert describe.remote() == (3, "")
    assert describe.with_concurrency(max_inputs=2).remote() == (3, "")


def test_a_function_that_was_found_by_its_id_says_so(reaching: str) -> None:
    """Behaviour 3."""
    function_id = volant.Function.from_name(reaching, "endpoint").hydrate().object_id
    found: Any = volant.Function.from_id(str(function_id))
    with pytest.raises(ExecutionError, match=f"by its id {function_id} and cannot run locally"):
        found.local()


GLOBAL_HANDLES = """
import volant

app = volant.App("global-handles")
function = volant.Function.from_name("changing", "answer")
cls = volant.Cls.from_name("changing", "Reaching")
made = cls(size=4)

@app.function()
def use():
    return made.describe.remote(), made.describe.spawn().get(), cls().describe.remote()

if __name__ == "__main__":
    wrong = [cls(sizes=4), cls(4), cls(size="4")]
    with app.run():
        print(use.remote(), use.local() == use.remote())
    for one in wrong:
        try:
            one.describe.remote()
        except volant.errors.InvalidError as error:
            print(error)
"""


def test_objects_of_classes_that_were_looked_up_may_be_globals(
    reaching: str, volant_home: Path, tmp_path: Path
) -> None:
    """Behaviours 45, 58 and 62: nobody is asked before they are used, also by a container."""
    assert reaching == "changing"
    script = program_file(tmp_path, GLOBAL_HANDLES)
    assert run_program(script, home=volant_home).stdout.splitlines() == [
        "((4, ''), (4, ''), (1, '')) True", "class `Reaching` has no parameter `sizes`",
        "`Reaching(...)` takes keywords only, got 4", "`size` must be int, got '4'",
    ]  # fmt: skip
    found: Any = volant.Cls.from_name("changing", "Reaching")
    pickled = pickle.dumps(found(size=5))
    assert pickle.loads(pickled).describe.remote() == (5, "")
