"""Calls made from inside containers, and handles that travel into and out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import nesting

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with nesting.app.run():
        yield


def test_every_form_works_from_inside() -> None:
    """Behaviour 135: remote, local, spawn, map, starmap, remote_gen, from_id."""
    assert nesting.use_every_form.remote(3) == [
        6, 6, 6, 6, [0, 2, 4], [6], [0, 1, 2], [6, 8],
    ]  # fmt: skip


def test_a_call_made_inside_is_a_handle_outside() -> None:
    """Behaviour 136: it may be fetched here after its maker has returned."""
    call = nesting.start_and_leave.remote(21)
    assert isinstance(call, volant.FunctionCall)
    assert call.get() == 42


def test_handles_are_arguments() -> None:
    """Behaviour 136: a function and a call, in a structure."""
    call = nesting.double.spawn(1)
    function, back = nesting.echo.remote((nesting.double, {"call": call}))
    assert function is nesting.double
    assert back["call"].object_id == call.object_id
    assert back["call"].get() == 2


def test_an_exception_passes_through_all_levels() -> None:
    """Behaviour 5: as its own type, with the frames of both containers."""
    with pytest.raises(nesting.Refused, match="not 3") as caught:
        nesting.pass_on.remote(3)
    names = [entry.frame.code.name for entry in caught.traceback]
    assert names.index("pass_on") < names.index("refuse")


def test_a_function_may_call_itself() -> None:
    """Behaviour 135: as deep as there are containers to wait in."""
    assert nesting.fibonacci.remote(5) == 5


def test_large_values_travel_inside() -> None:
    """Behaviour 10: between containers as well."""
    assert nesting.large_there_and_back.remote(3 << 20) == 3 << 20


def test_ids_tell_calls_apart() -> None:
    """Behaviour 51: a nested call has an id of its own."""
    call_id, input_id, container_id, other_id = nesting.ids.remote()
    assert str(call_id).startswith("fc-")
    assert str(input_id).startswith(f"in-{str(call_id)[3:]}")
    assert container_id.startswith("ta-")
    assert str(other_id).startswith("fc-")
    assert other_id != call_id
    assert volant.current_function_call_id() is None
    assert volant.current_input_id() is None


def test_an_app_may_be_run_inside_a_function() -> None:
    """Behaviour 73: there it works."""
    assert nesting.run_another_app.remote() == 15


def test_an_app_may_be_deployed_inside_a_function() -> None:
    """Behaviour 135: it is there for everybody, and goes on without the container."""
    assert nesting.deploy_another_app.remote() == 21
    triple = volant.Function.from_name("deployed-inside", "triple")
    assert triple.remote(5) == 15
    app = volant.App.lookup("deployed-inside")
    assert (app.info().lifecycle.version, app.info().lifecycle.deployed_by) == (
        1,
        "container of nesting",
    )
    assert nesting.deploy_another_app.remote() == 21
    assert app.info(refresh=True).lifecycle.version == 1
    app.stop()


def test_threads_of_a_container_may_call() -> None:
    """Behaviour 135: over the container's one connection."""
    assert nesting.in_threads.remote() == [2 * number for number in range(20)]


def test_a_child_process_knows_that_it_is_remote() -> None:
    """Behaviour 135: a Python that user code starts finds the package; it runs no input."""
    assert nesting.in_a_subprocess.remote() == "False None\n"
