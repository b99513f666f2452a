"""Calling functions: `.remote`, `.local`, `.remote_gen`, and how they fail."""

from __future__ import annotations

import asyncio
import builtins
import inspect
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import calling
from tests.behaviours.programs import run_program
from volant.errors import (
    ExecutionError,
    FunctionTimeoutError,
    InvalidError,
    NotFoundError,
    RemoteError,
    SerializationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with calling.app.run():
        yield


def test_remote_runs_in_a_container_and_returns_the_value() -> None:
    """Behaviour 1: positional and keyword arguments both work."""
    first, second, third, container_id, is_local = calling.place.remote(1, third=30)
    assert (first, second, third) == (1, 2, 30)
    assert container_id.startswith("ta-")
    assert not is_local
    assert calling.place.remote(first=4, second=5)[:3] == (4, 5, 3)


def test_local_runs_here_while_the_app_runs() -> None:
    """Behaviour 2: `.local()` stays in this process."""
    assert calling.place.local(1) == (1, 2, 3, "", True)
    assert list(calling.count_up.local(3)) == [0, 1, 2]


def test_local_on_an_async_function_is_an_awaitable() -> None:
    """Behaviour 2: an async function's `.local()` has to be awaited."""
    awaitable = calling.place_async.local(1)
    assert inspect.isawaitable(awaitable)

    async def wait() -> tuple[int, bool]:
        return await awaitable

    assert asyncio.run(wait()) == (1, True)


def test_a_looked_up_function_does_not_run_locally() -> None:
    """Behaviour 3: `.local()` raises ExecutionError and says why."""
    found = volant.Function.from_name("some-app", "some-function", version=3)
    assert isinstance(found, volant.Function)
    with pytest.raises(ExecutionError, match=r"`some-function`.*cannot run locally"):
        found.local(1)


def test_looking_up_asks_nobody(tmp_path: Path) -> None:
    """Behaviour 3: the handle is lazy; it may be copied and sent before anything is asked."""
    program = (
        "import copy, pickle, sys, volant\n"
        "found = volant.Function.from_name('some-app', 'some-function')\n"
        "again = pickle.loads(pickle.dumps(copy.copy(found)))\n"
        "print(again.name, again.app.name, 'volant.channel.opening' in sys.modules)\n"
    )
    run = run_program("-c", program, home=tmp_path)
    assert run.stdout == "some-function some-app False\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "form",
    ["remote", "remote_gen", "spawn", "map", "starmap", "for_each", "spawn_map",
     "experimental_spawn_map", "hydrate"],
)  # fmt: skip
def test_what_is_not_deployed_is_not_found_when_it_is_used(form: str) -> None:
    """Behaviours 3 and 77: in `.aio` form as well."""
    text = "Lookup failed for Function 'some-function' from the 'some-app' app"
    given = () if form == "hydrate" else ([(1,)],)

    def found() -> Any:
        return getattr(volant.Function.from_name("some-app", "some-function"), form)

    async def wait() -> None:
        made = found().aio(*given)
        await made if inspect.isawaitable(made) else [value async for value in made]

    with pytest.raises(NotFoundError, match=text):
        list(found()(*given))
    with pytest.raises(NotFoundError, match=text):
        asyncio.run(wait())


@pytest.mark.parametrize("names", [("", "f"), ("app", ""), ("two words", "f"), ("app", "x" * 65)])
def test_names_that_nothing_can_have_are_not_looked_up(names: tuple[str, str]) -> None:
    """Behaviours 3 and 71: they are refused at once."""
    with pytest.raises(InvalidError, match="cannot be the name of"):
        volant.Function.from_name(*names)


def test_the_class_and_message_of_an_exception_arrive() -> None:
    """Behaviour 5: in sync form, with what the exception holds."""
    with pytest.raises(calling.Unlucky, match=r"^bad luck$") as caught:
        calling.fail.remote("unlucky")
    assert caught.value.amount == 13


def test_the_class_and_message_of_an_exception_arrive_in_async_code() -> None:
    """Behaviour 5: in `.aio` form, of a plain and of an async function."""
    with pytest.raises(calling.Unlucky, match=r"^bad luck$"):
        asyncio.run(calling.fail.remote.aio("unlucky"))
    with pytest.raises(calling.Unlucky, match=r"^awaited$"):
        asyncio.run(calling.fail_async.remote.aio("awaited"))


def test_the_traceback_shows_the_remote_lines() -> None:
    """Behaviour 5: Volant adds the remote frames, with the path of the file on this machine."""
    with pytest.raises(calling.Unlucky) as caught:
        calling.fail.remote("unlucky")
    frames = {(str(frame.path), frame.frame.code.name) for frame in caught.traceback}
    assert (calling.__file__, "fail") in frames
    assert "raise Unlucky(" in str(caught.traceback[-1].statement)


def test_system_exit_comes_back_as_system_exit() -> None:
    """Behaviour 6: with its code (that the container shows the traceback: see test_logs)."""
    with pytest.raises(SystemExit) as caught:
        calling.fail.remote("exit")
    assert caught.value.code == 7


def test_keyboard_interrupt_in_the_function_comes_back() -> None:
    """Behaviour 6: the same holds for other exceptions that are no `Exception`."""
    with pytest.raises(KeyboardInterrupt):
        calling.fail.remote("interrupt")


def test_an_exception_that_cannot_be_rebuilt_is_a_remote_error() -> None:
    """Behaviour 7: with the original text."""
    with pytest.raises(RemoteError, match="Unsendable: text of its own") as caught:
        calling.fail.remote("unsendable")
    assert "raise Unsendable(" in str(caught.value.hint)


def test_an_exception_that_is_unknown_here_is_a_remote_error() -> None:
    """Behaviour 7: of a module that only the container has; with the original text."""
    with pytest.raises(RemoteError, match=r"^only_here\.Stranger: text of its own") as caught:
        calling.fail_as_only_here.remote()
    assert "raise stranger(" in str(caught.value.hint)


def test_exceptions_of_a_group_arrive_one_by_one() -> None:
    """Behaviours 5 and 7: each as its own type with its frames, or as a RemoteError."""
    with pytest.raises(ExceptionGroup, match="together") as caught:
        calling.fail.remote("group")
    unlucky, unsendable = caught.value.exceptions
    assert isinstance(unlucky, calling.Unlucky)
    assert unlucky.amount == 13
    assert unlucky.__traceback__ is not None
    assert isinstance(unsendable, RemoteError)
    assert "Unsendable: text of its own" in str(unsendable)


def test_arguments_may_have_any_name() -> None:
    """Behaviour 1: also those that the call forms use themselves."""
    assert calling.take_names.remote(1, args=3, kwargs=4, self=5, function=6) == (
        1, 3, 4, {"self": 5, "function": 6},
    )  # fmt: skip
    assert calling.take_names.spawn(1, self=2).get() == (1, 1, 2, {"self": 2})
    assert calling.take_names.local(1, self=2) == (1, 1, 2, {"self": 2})


def test_exceeding_the_timeout_raises() -> None:
    """Behaviour 8: FunctionTimeoutError, which is a TimeoutError; the function is named."""
    with pytest.raises(FunctionTimeoutError, match=r"`sleep_too_long`.* 0\.3 s") as caught:
        calling.sleep_too_long.remote()
    assert isinstance(caught.value, builtins.TimeoutError)


def options_sent(function: volant.Function[..., Any, Any]) -> dict[str, Any]:
    """What the hub is told of a function, and acts by."""
    options = function.to_wire(calling.__name__, 0)["options"]
    assert isinstance(options, dict)
    return options


def test_the_default_timeout_is_300_s() -> None:
    """Behaviour 8: and None is refused."""
    assert options_sent(calling.place)["timeout_s"] == 300.0
    with pytest.raises(InvalidError, match="timeout"):
        volant.App().function(timeout=None)  # type: ignore[arg-type]  # that is the test


def test_the_time_of_the_start_is_not_that_of_the_function() -> None:
    """Behaviour 9: startup_timeout defaults to timeout, and only running counts for the latter."""
    assert options_sent(calling.sleep_within_its_time)["startup_timeout_s"] == 1.5
    assert calling.sleep_within_its_time.remote(0.0) == "done"


@pytest.mark.parametrize("size", [10, (2 << 20) - 1, (2 << 20) + 1, 5 << 20])
def test_inputs_and_outputs_of_any_size_work(size: int) -> None:
    """Behaviour 10: above 2 MiB as well as below."""
    value = bytes(range(256)) * (size // 256 + 1)
    assert calling.echo.remote(value) == value


def test_handles_arrive_as_the_public_type() -> None:
    """Behaviour 11: functions and calls as arguments."""
    call = calling.place.spawn(1)
    assert calling.name_public_type.remote(calling.place) == "Function"
    assert calling.name_public_type.remote(call) == "FunctionCall"


@pytest.mark.parametrize(
    "made",
    [
        calling.place.with_options(memory=256), volant.Cls.from_name("some-app", "Some"),
        calling.app, volant.Dict.from_name("some"), volant.Queue.from_name("some"),
        volant.Volume.from_name("some"), volant.Secret.from_name("some"),
        volant.Secret.from_dict({"A": "b"}), volant.Image.host(), volant.Retries(max_retries=1),
        volant.Cron("* * * * *"),
    ],
    ids=lambda made: type(made).__name__,
)  # fmt: skip
def test_objects_arrive_as_their_public_type(made: object) -> None:
    """Behaviour 11: passed and returned, also those that nobody has asked for yet."""
    kind = calling.name_public_type.remote(made)
    assert isinstance(made, getattr(volant, kind))
    assert type(calling.echo.remote(made)) is type(made)


def test_handles_that_travel_are_usable() -> None:
    """Behaviour 11: as arguments in the container, as results here."""
    assert calling.call_handle.remote(calling.place, 9)[:3] == (9, 2, 3)
    assert calling.get_handle.remote(calling.place.spawn(8))[:3] == (8, 2, 3)
    function, call = calling.make_handles.remote()
    assert function is calling.place
    assert isinstance(call, volant.FunctionCall)
    assert call.get()[:3] == (5, 2, 3)


def test_remote_on_a_generator_is_refused() -> None:
    """Behaviour 12: naming remote_gen; in both forms."""
    with pytest.raises(InvalidError, match=r"\.remote\(\)") as caught:
        calling.count_up.remote(3)
    assert ".remote_gen()" in str(caught.value)
    assert "remote_gen" in str(caught.value.hint)
    with pytest.raises(InvalidError, match=r"\.remote\(\)"):
        asyncio.run(calling.count_up.remote.aio(3))


def test_remote_gen_on_a_plain_function_is_refused() -> None:
    """Behaviour 12: the other way round."""
    with pytest.raises(InvalidError, match="is not a generator"):
        calling.place.remote_gen(1)
    with pytest.raises(InvalidError, match="is not a generator"):
        calling.place.remote_gen.aio(1)


def test_remote_gen_is_an_iterator() -> None:
    """Behaviour 13: `next` works on it."""
    values = calling.count_up.remote_gen(3)
    assert iter(values) is values
    assert [next(values), next(values), next(values)] == [0, 1, 2]
    with pytest.raises(StopIteration):
        next(values)


def test_values_of_a_generator_arrive_one_by_one() -> None:
    """Behaviour 13: the first is here long before the last is made; leaving early is fine."""
    values = calling.count_up.remote_gen(1000, delay_s=0.2)
    assert [next(values), next(values)] == [0, 1]
    values.close()  # type: ignore[attr-defined]  # a generator, as `remote_gen` of the model is


def test_an_exception_of_a_generator_comes_after_its_values() -> None:
    """Behaviour 13: after k values."""
    values = calling.count_up.remote_gen(10, fail_at=3)
    assert [next(values), next(values), next(values)] == [0, 1, 2]
    with pytest.raises(calling.Unlucky, match="at 3"):
        next(values)


def test_async_generators_stream_as_well() -> None:
    """Behaviour 13: from an async function, and into async code."""

    async def collect() -> list[int]:
        return [value async for value in calling.count_up_async.remote_gen.aio(5)]

    assert asyncio.run(collect()) == [0, 1, 2, 3, 4]
    assert list(calling.count_up_async.remote_gen(3000)) == list(range(3000))


def test_a_function_that_returns_a_generator_streams_only_when_declared() -> None:
    """Behaviour 14: `is_generator=True` says so."""
    assert list(calling.declared_generator.remote_gen(4)) == [0, 1, 2, 3]
    with pytest.raises(SerializationError, match="generator"):
        calling.returns_generator.remote(4)


@pytest.mark.parametrize("form", ["spawn", "map", "for_each", "starmap", "spawn_map"])
def test_the_other_forms_refuse_generators(form: str) -> None:
    """Behaviour 15: naming the form; in `.aio` form as well."""
    with pytest.raises(InvalidError, match=rf"generator function.*\.{form}\(\)"):
        getattr(calling.count_up, form)([1])

    async def call() -> None:
        made = getattr(calling.count_up, form).aio([1])
        await made if inspect.isawaitable(made) else [value async for value in made]

    with pytest.raises(InvalidError, match=rf"generator function.*\.{form}\(\)"):
        asyncio.run(call())


def test_calling_the_object_says_what_to_write() -> None:
    """Better than the model, whose TypeError names neither form."""
    with pytest.raises(InvalidError) as caught:
        calling.place(1)
    assert ".remote(" in str(caught.value.hint)
    assert ".local(" in str(caught.value.hint)
