"""Defining functions: what the decorators take, and what they refuse."""

from __future__ import annotations

import asyncio
import inspect
import os
import posixpath
import threading
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import defining
from tests.behaviours.programs import Program, run_program
from volant.errors import (
    DeprecationError,
    ExecutionError,
    InvalidError,
    NotFoundError,
    SerializationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any


@pytest.fixture(scope="module")
def _running() -> Iterator[None]:
    with defining.app.run():
        yield


idle_app = volant.App("idle")


@idle_app.function()
def never_called(value: int) -> int:
    return value


@idle_app.function()
def never_iterated(value: int) -> Iterator[int]:
    yield value


FORMS = [
    never_called.remote, never_iterated.remote_gen, never_called.spawn, never_called.map,
    never_called.starmap, never_called.for_each, never_called.spawn_map,
    never_called.experimental_spawn_map,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: type(form).__name__)
def test_calls_before_the_app_runs_are_refused(form: Any) -> None:
    """Behaviour 4: plainly, and with "hydrated" in the text, in every form, when it is called."""
    with pytest.raises(ExecutionError, match=r"^the app of `never_.*` does not run.*hydrated"):
        form([1])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: type(form).__name__)
def test_calls_before_the_app_runs_are_refused_in_async_code(form: Any) -> None:
    """Behaviour 4: in `.aio` form, at the latest when it is awaited."""

    async def call() -> None:
        made = form.aio([(1,)])
        await made if inspect.isawaitable(made) else [value async for value in made]

    with pytest.raises(ExecutionError, match="hydrated"):
        asyncio.run(call())


def test_the_plain_function_is_to_be_had() -> None:
    def plain() -> int:
        return 7

    assert volant.App("plain").function(serialized=True)(plain).get_raw_f() is plain


def test_local_needs_no_running_app() -> None:
    """Behaviour 2: it runs the plain function."""
    assert never_called.local(5) == 5


def test_a_function_that_is_not_in_global_scope_is_refused() -> None:
    """Behaviour 37: what to do is said."""
    app = volant.App()

    def inner() -> None:
        pass

    with pytest.raises(InvalidError, match="not in global scope") as caught:
        app.function()(inner)
    assert "serialized=True" in str(caught.value.hint)
    with pytest.raises(InvalidError, match="not in global scope"):
        app.function()(lambda: 1)


def test_closures_are_captured_when_serialized() -> None:
    """Behaviour 37: with `serialized=True` they travel with the function."""
    app = volant.App("serialized")
    captured = {"offset": 40}

    @app.function(serialized=True)
    def add_captured(value: int) -> int:
        return value + captured["offset"]

    @app.function(serialized=True)
    def yield_captured(stop: int) -> Iterator[int]:
        for number in range(stop):
            yield number + captured["offset"]

    with app.run():
        assert add_captured.remote(2) == 42
        assert list(add_captured.map([1, 2])) == [41, 42]
        assert list(yield_captured.remote_gen(2)) == [40, 41]


def test_what_cannot_be_captured_is_refused() -> None:
    """Behaviour 37: when the app starts, naming the function."""
    app = volant.App("unpicklable")
    lock = threading.Lock()

    @app.function(serialized=True)
    def locked() -> bool:
        return lock.locked()

    with pytest.raises(SerializationError, match="`locked` cannot be pickled"):
        app.run().__enter__()


@pytest.mark.parametrize("size", [256 << 10, 16 << 20])
def test_large_functions_warn_and_larger_ones_are_refused(size: int) -> None:
    """Section 2.1: `serialized=True` warns above 256 KiB and raises above 16 MiB, not below."""
    app = volant.App("captures")
    captured = bytes(size)

    @app.function(serialized=True)
    def first_byte() -> int:
        return captured[0]

    if size == 16 << 20:
        with pytest.raises(InvalidError, match="`first_byte` is 16 MiB when pickled, at most 16"):
            first_byte.to_wire(__name__, 0)
        captured = captured[: -(1 << 20)]  # the closure sees it
    with pytest.warns(UserWarning, match="`first_byte` is .* KiB when pickled"):
        assert first_byte.to_wire(__name__, 0)["serialized"]
    captured = captured[: (256 << 10) - 2000]
    assert first_byte.to_wire(__name__, 0)["serialized"]


WITHOUT_SOURCE = """
import volant

app = volant.App("without-source")

@app.function(include_source=False)
def double(x):
    return 2 * x

{more}

@app.local_entrypoint()
def main():
    print(double.remote(4))

if __name__ == "__main__":
    with app.run():
        main()
"""


@pytest.mark.parametrize("words", [["-m", "volant", "run"], []])
def test_a_function_whose_source_is_nowhere_is_refused(
    volant_home: Path, tmp_path: Path, words: list[str]
) -> None:
    """Section 2.1: `include_source=False` of a script; it says what was not sent and what to do."""
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_SOURCE.format(more=""))
    program = Program(*words, script, home=volant_home)
    code, printed, complaint = program.end()
    assert (code, printed) == (1, "")
    assert "`double` has include_source=False, so no source was sent, and containers do not " in (
        complaint
    )
    assert str(script) in complaint
    assert "hint: leave include_source at True, use serialized=True, or install" in complaint


def test_a_source_that_another_function_brings_will_do(volant_home: Path, tmp_path: Path) -> None:
    """Section 2.1: `include_source` is of a module, so one function that sends it is enough."""
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_SOURCE.format(more="@app.function()\ndef other(): pass\n"))
    assert run_program(script, home=volant_home).stdout == "8\n"


def test_installed_modules_need_no_source(volant_home: Path) -> None:
    """Section 2.1: what the image has is not sent."""
    app = volant.App("installed", include_source=False)
    basename = app.function()(posixpath.basename)
    with app.run():
        assert basename.remote("/a/b") == "b"


INTERACTIVE = """
import volant

app = volant.App("interactive")
OFFSET = 5

class Point:
    def __init__(self, x):
        self.x = x

class Outside(Exception):
    pass

@app.function()
def move(point):
    if point.x < 0:
        raise Outside(point.x)
    return Point(point.x + OFFSET)

@app.function()
def move_twice(x):
    return move.remote(move.remote(Point(x))).x

with app.run():
    moved = move.remote(Point(1))
    assert type(moved) is Point, type(moved)
    try:
        move.remote(Point(-1))
    except Outside as error:
        print(moved.x, move_twice.remote(0), error)
"""


@pytest.mark.parametrize("source", ["-c", "stdin"])
def test_functions_without_a_file_are_serialized(volant_home: Path, source: str) -> None:
    """Behaviours 37 and 134; issue 2, 2: the `__main__` of a notebook, a prompt, `python -c`."""
    words = ("-c", INTERACTIVE) if source == "-c" else ("-",)
    stdin = INTERACTIVE if source == "stdin" else None
    assert run_program(*words, home=volant_home, stdin=stdin).stdout == "6 10 -1\n"


@pytest.mark.usefixtures("_running")
def test_a_function_of_a_module_may_be_serialized() -> None:
    """Behaviour 37: it brings the globals that it uses."""
    assert defining.pickled.remote(5) == 15


def test_an_app_may_consist_of_serialized_functions() -> None:
    """Behaviour 37: then no source is sent at all, and those of modules are pickled whole."""
    app = volant.App("only-serialized")
    function = app.function(serialized=True)(defining.not_decorated_at_once)

    @app.function(serialized=True)
    def calls_the_other(value: int) -> int:
        return function.remote(value)

    @app.function(serialized=True)
    def calls_the_other_locally(value: int) -> int:
        return function.local(value)

    with app.run():
        assert function.remote(1) == 3
        assert calls_the_other.remote(2) == 4
        with pytest.raises(ExecutionError, match=r"not here.*\.local\(\)"):
            calls_the_other_locally.remote(1)


@pytest.mark.usefixtures("_running")
def test_a_function_may_have_another_name() -> None:
    """Behaviours 38 and 150: `name=` is the one that the app knows."""
    assert "another-name" in defining.app.registered_functions
    assert defining.plain_name.remote(1) == 2
    assert defining.app.registered_functions["another-name"].local(1) == 2


def test_a_function_is_deployed_under_its_other_name(volant_home: Path) -> None:
    """Behaviour 38: its Python name is not to be looked up."""
    app = volant.App("deployed-names")

    @app.function(serialized=True, name="other-name")
    def python_name(value: int) -> int:
        return value + 1

    app.deploy()
    try:
        assert volant.Function.from_name("deployed-names", "other-name").remote(1) == 2
        with pytest.raises(NotFoundError, match="Function 'python_name'"):
            volant.Function.from_name("deployed-names", "python_name").remote(1)
    finally:
        app.stop()


@pytest.mark.usefixtures("_running")
def test_a_function_may_be_decorated_away_from_its_definition() -> None:
    """Behaviour 37: the plain function stays under its own name, and that is found remotely."""
    assert defining.decorated_later.remote(1) == 3


@pytest.mark.usefixtures("_running")
def test_options_may_come_from_a_dictionary() -> None:
    """Behaviour 150: `@app.function(**config)`."""
    assert defining.from_dictionary.remote(1) == -1


def test_two_functions_of_one_name_warn() -> None:
    """Behaviour 38: naming both modules."""
    app = volant.App("twice")
    app.function(name="same")(never_called._raw)
    with pytest.warns(UserWarning, match=rf"{__name__}.*{defining.__name__}"):
        app.function(name="same")(defining.plain_name._raw)


DECORATORS: dict[str, Any] = {
    "@app.function()": idle_app.function, "@app.local_entrypoint()": idle_app.local_entrypoint,
    "@app.cls()": idle_app.cls, "@app.server()": idle_app.server,
    "@volant.method()": volant.method, "@volant.enter()": volant.enter,
    "@volant.exit()": volant.exit, "@volant.concurrent(max_inputs=": volant.concurrent,
    "@volant.clustered(size=": volant.clustered,
    "@volant.batched(max_batch_size=": volant.batched, "@volant.asgi_app()": volant.asgi_app,
    "@volant.fastapi_endpoint()": volant.fastapi_endpoint, "@volant.wsgi_app()": volant.wsgi_app,
    "@volant.web_server(8000)": volant.web_server, "@volant.sessioned()": volant.sessioned,
}  # fmt: skip


@pytest.mark.parametrize("form", DECORATORS)
def test_decorators_without_parentheses_show_the_right_form(form: str) -> None:
    """Behaviour 39: all of them, in the text as in the hint."""
    with pytest.raises(InvalidError) as caught:
        DECORATORS[form](never_called._raw)
    assert form in str(caught.value)
    assert form in str(caught.value.hint)


@pytest.mark.parametrize("name", ["function", "cls"])
def test_a_positional_image_is_refused(name: str) -> None:
    """Behaviour 40: and suggests the keyword; of classes as well."""
    with pytest.raises(InvalidError) as caught:
        getattr(volant.App(), name)(volant.Image.host())
    assert f"{name}(image=image)" in str(caught.value)
    assert f"@app.{name}(image=image)" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("keep_warm", "min_containers"),
        ("concurrency_limit", "max_containers"),
        ("container_idle_timeout", "scaledown_window"),
        ("allow_concurrent_inputs", "concurrent"),
    ],
)
def test_old_keywords_name_their_successor(old: str, new: str) -> None:
    """Behaviour 41: four keywords that have another name now, of functions and classes."""
    for decorate in (volant.App().function, volant.App().cls):
        with pytest.raises(DeprecationError, match=f"{old}= is now .*{new}"):
            decorate(**{old: 1})  # type: ignore[arg-type]  # that is the test


def test_resources_are_a_number_or_request_and_limit() -> None:
    """Behaviour 42: a limit below its request raises."""
    app = volant.App()
    for given in (1, 0.5, (0.5, 2)):
        app.function(cpu=given)
    app.function(memory=(128, 256))
    with pytest.raises(InvalidError, match="cpu limit 1 is below its request 2"):
        app.function(cpu=(2, 1))
    with pytest.raises(InvalidError, match="memory limit"):
        app.function(memory=(512, 256))


def test_numbers_that_make_no_sense_are_refused() -> None:
    """Behaviour 43: naming the option."""
    app = volant.App()
    with pytest.raises(InvalidError, match="scaledown_window"):
        app.function(scaledown_window=0)
    with pytest.raises(InvalidError, match="max_retries"):
        app.function(retries=-1)
    with pytest.raises(InvalidError, match="backoff_coefficient"):
        volant.Retries(max_retries=1, backoff_coefficient=0.0)
    with pytest.raises(TypeError, match="max_retries"):
        volant.Retries()  # type: ignore[call-arg]  # that is the test


def test_each_input_may_have_a_container_of_its_own() -> None:
    """Behaviour 47: with `single_use_containers`, or as it was called before, which warns."""
    app = volant.App("single-use")

    def where(_value: int) -> str:
        return os.environ["VOLANT_CONTAINER_ID"]

    fresh = app.function(serialized=True, single_use_containers=True, name="fresh")(where)
    with pytest.warns(DeprecationError, match="called single_use_containers=True") as warned:
        old = app.function(serialized=True, max_inputs=1, name="old")(where)
    assert warned[0].filename == __file__
    shared = app.function(serialized=True, max_containers=1, name="shared")(where)
    with app.run():
        for function in (fresh, old):
            assert len({*function.map(range(3)), function.remote(3)}) == 4
        assert len({*shared.map(range(3)), shared.remote(3)}) == 1


def test_the_old_name_of_single_use_means_one_input() -> None:
    """Behaviour 47: of functions and classes, and whoever wrote it is told where."""
    with pytest.raises(InvalidError, match="max_inputs can only be 1, got 2"):
        idle_app.function(max_inputs=2)
    with pytest.warns(DeprecationError, match="called single_use_containers=True") as warned:
        decorator = idle_app.cls(max_inputs=1)
    assert warned[0].filename == __file__
    assert decorator._settings["options"]["single_use"]


def test_classes_and_methods_are_refused_as_functions() -> None:
    """Behaviour 44: a class is a TypeError, a method names @app.cls."""
    app = volant.App()

    class Counter:
        def count(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"@app\.cls"):
        app.function()(Counter)
    Counter.count.__qualname__ = "Counter.count"  # as at global scope
    for method in (Counter.count, volant.method()(Counter.count)):
        with pytest.raises(InvalidError, match=r"is a method .*@app\.cls") as caught:
            app.function()(method)
        assert "@app.cls" in str(caught.value.hint)
