"""Calls whose results are kept: fetched later, elsewhere, twice, or no more."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.integration.hub.players import function_spec
from volant import errors
from volant.wire import frames
from volant.wire.payloads import dumps
from volantd.hub import retained
from volantd.hub.durable import calls as durable_calls

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

RETAIN = frames.RETAIN


def test_a_kept_result_can_be_fetched_again_and_by_others(world: World, client: Client):
    world.serve = lambda x: x + 1
    client.open()
    call_id = client.spawn(1)
    for asking in (client, client, world.client()):
        assert asking.value(asking.get(call_id)) == 2
    assert client.request("call_inputs", call=call_id)["value"] == 1


def test_who_asks_early_hears_when_the_result_is_there(world: World, client: Client):
    client.open()
    call_id = client.spawn(1)
    other = world.client()
    numbers = [client.get(call_id), other.get(call_id), other.get(call_id)]
    assert not client.results
    assert not other.results
    [container] = world.containers
    container.answer(container.batches[0], lambda x: x + 1)
    world.turn()
    assert client.value(numbers[0]) == 2
    assert [other.value(number) for number in numbers[1:]] == [2, 2]


def test_who_only_looks_is_told_that_it_is_pending(world: World, client: Client):
    client.open()
    call_id = client.spawn(1)
    assert client.reply(client.get(call_id, wait=False)) == {
        "id": client.number,
        "state": "pending",
    }


def test_a_kept_exception_is_raised_for_everybody(world: World, client: Client):
    world.serve = lambda x: 1 // x
    client.open()
    call_id = client.spawn(0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            client.value(client.get(call_id))


def test_each_input_of_a_kept_map_can_be_fetched(world: World, client: Client):
    world.serve = lambda x: x * 2
    client.open()
    number = client.submit([1, 2, 3], flags=frames.OPEN | RETAIN)
    client.submit([4], number=number, first=3, flags=frames.LAST)
    world.turn()
    call_id = f"fc-{client.session}{number:010x}"
    assert client.reply(number) == {"id": number}
    assert [client.value(client.get(call_id, index), index) for index in range(4)] == [2, 4, 6, 8]
    assert client.request("call_inputs", call=call_id)["value"] == 4


@pytest.mark.parametrize("index", [-1, 1, 1 << 40])
def test_an_index_that_the_call_does_not_have_is_refused(world: World, client: Client, index: int):
    client.open()
    call_id = client.spawn(1)
    with pytest.raises(errors.InvalidError, match="index"):
        client.reply(client.get(call_id, index))


def test_who_waits_for_an_index_that_never_comes_hears_of_it(world: World, client: Client):
    """A map that is still being sent may yet have any index."""
    world.serve = lambda x: x
    client.open()
    number = client.submit([1], flags=frames.OPEN | RETAIN)
    world.turn()
    waiting = client.get(f"fc-{client.session}{number:010x}", 7)
    assert waiting not in client.replies
    client.submit([], number=number, first=1, flags=frames.LAST)
    world.turn()
    with pytest.raises(errors.InvalidError, match="index 7"):
        client.reply(waiting)


def test_an_unknown_call_is_not_found(world: World, client: Client):
    with pytest.raises(errors.NotFoundError, match="fc-nothing"):
        client.request("call_get", call="fc-nothing", index=0, wait=True)


def test_a_call_that_was_not_spawned_has_no_kept_result(world: World, client: Client):
    client.open()
    number = client.call(1)
    with pytest.raises(errors.InvalidError, match="not spawned"):
        client.request("call_inputs", call=f"{client.session}{number:010x}")


def test_results_that_are_not_in_memory_any_more_are_on_the_disk(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retained, "CALLS_MAX", 3)
    world.serve = lambda x: x
    client.open()
    calls = [client.spawn(number) for number in range(5)]
    assert len(world.hub.calls) == 3
    assert [client.value(client.get(call)) for call in calls] == [0, 1, 2, 3, 4]
    assert client.request("call_inputs", call=calls[0])["value"] == 1
    client.request("call_cancel", call=calls[0])
    with pytest.raises(errors.InvalidError, match="has 1 inputs, there is no index 1"):
        client.reply(client.get(calls[0], 1))


def test_a_result_on_the_disk_does_not_wait_for_what_is_being_written(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retained, "CALLS_MAX", 1)
    world.serve = lambda x: x
    client.open()
    calls = [client.spawn(number) for number in range(3)]
    is_over = threading.Event()
    writing = world.services.database.submit(lambda _: is_over.wait())
    try:
        assert client.value(client.get(calls[0])) == 0
        assert client.request("call_inputs", call=calls[0])["value"] == 1
    finally:
        is_over.set()
    assert writing.result()


@pytest.mark.parametrize("request_", ["call_get", "call_inputs", "call_list", "call_graph"])
def test_who_asks_a_database_that_is_away_is_told(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch, request_: str
):
    monkeypatch.setattr(retained, "CALLS_MAX", 1)
    world.serve = lambda x: x
    client.open()
    call, *_ = [client.spawn(number) for number in range(3)]
    away: Future[None] = Future()
    away.set_exception(errors.ServiceError("the database is away"))
    monkeypatch.setattr(world.services.database, "read", lambda _: away)
    given = {
        "call_get": {"call": call, "index": 0, "wait": True},
        "call_list": {"app": None, "state": None, "count": 3},
    }.get(request_, {"call": call})
    with pytest.raises(errors.ServiceError, match="is away"):
        client.request(request_, **given)


def test_results_in_memory_are_bounded_by_their_bytes(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retained, "BYTES_MAX", 5000)
    world.serve = lambda x: bytes([x]) * 2000
    client.open()
    calls = [client.spawn(number) for number in range(6)]
    assert len(world.hub.calls) < 6
    assert [client.value(client.get(call))[0] for call in calls] == [0, 1, 2, 3, 4, 5]


def test_results_of_one_call_are_bounded_as_well(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retained, "BYTES_MAX", 5000)
    world.serve = lambda x: bytes([x]) * 2000
    client.open(function_spec(max_containers=1))
    number = client.submit(list(range(10)), flags=frames.OPEN | RETAIN)
    world.turn()
    client.submit([10, 11], flags=frames.LAST, number=number, first=10)
    world.turn()
    call = f"fc-{client.session}{number:010x}"
    [held] = world.hub.calls.values()
    assert len(held.results) < 12
    values = [client.value(client.get(call, index), index)[0] for index in range(12)]
    assert values == list(range(12))


def test_a_kept_file_is_handed_out_closed_and_made_again(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retained, "CALLS_MAX", 1)
    client.open()
    call_id = client.spawn(1)
    early = client.get(call_id)
    [container] = world.containers
    kind, payload, fd = dumps(np.arange(1 << 20))
    assert fd is not None
    container.outcome(container.batches[0], [(kind, payload)], fd)
    os.close(fd)
    world.turn()
    assert client.value(early)[5] == 5
    assert client.value(client.get(call_id))[5] == 5
    world.serve = lambda x: x
    client.spawn(2)  # the file is let go of; the fixture counts descriptors
    assert call_id.removeprefix("fc-") not in world.hub.calls
    assert client.value(client.get(call_id))[5] == 5


def test_a_call_that_cannot_be_written_is_refused(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    client.open()
    monkeypatch.setattr(world.services.database, "_run", full)
    with pytest.raises(errors.ResourceExhaustedError, match="no room on the disk"):
        client.spawn(1)
    assert not world.hub.calls
    monkeypatch.undo()
    world.serve = lambda x: x
    assert client.value(client.get(client.spawn(2))) == 2


def test_a_result_that_cannot_be_written_is_written_later(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(durable_calls, "RETRY_S", 0.01)
    client.open()
    call_id = client.spawn(1)
    waiting = client.get(call_id)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(world.services.database, "_run", full)
    [container] = world.containers
    container.outcome(container.batches[0], [dumps("late")[:2]])
    world.turn()
    assert waiting not in client.results, "nobody hears of what may be lost"
    monkeypatch.undo()
    world.until(lambda: waiting in client.results)
    assert client.value(waiting) == "late"


def test_a_container_cannot_have_one_file_closed_twice(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    """It sends one descriptor with two results: the second close would hit a stranger's file."""
    monkeypatch.setattr(retained, "CALLS_MAX", 1)
    client.open(function_spec(max_containers=1))
    number = client.submit([1, 2], flags=frames.OPEN | frames.LAST | RETAIN)
    world.turn()
    [container] = world.containers
    kind, payload, fd = dumps(np.arange(1 << 20))
    assert fd is not None
    [batch] = container.batches
    container.outcome(batch, [(kind, payload), (kind, payload)], fd)
    os.close(fd)
    world.turn()
    witnesses = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
    world.serve = lambda x: x
    client.spawn(3)
    client.spawn(4)
    for witness in witnesses:
        os.close(witness)
    assert number not in client.results


def test_cancelling_a_kept_call_gives_its_rest_a_fault(world: World, client: Client):
    client.open(function_spec(max_containers=1))
    number = client.submit([1, 2, 3], flags=frames.OPEN | frames.LAST | RETAIN)
    world.turn()
    call_id = f"fc-{client.session}{number:010x}"
    waiting = client.get(call_id, 2)
    client.request("call_cancel", call=call_id)
    client.request("call_cancel", call=call_id, terminate=True)
    for asked, index in ((waiting, 2), (client.get(call_id, 0), 0)):
        with pytest.raises(errors.InputCancellation):
            client.value(asked, index)


def test_cancelling_with_its_containers_ends_them(world: World, client: Client):
    client.open()
    call_id = client.spawn(1)
    client.request("call_cancel", call=call_id, terminate=True)
    assert world.containers[0].signals == [9]


def test_a_call_of_a_detached_app_outlives_its_client(world: World):
    client = world.client()
    client.open(detach=True)
    call_id = client.spawn(1)
    client.close()
    world.turn()
    [container] = world.containers
    later = world.client()
    assert later.request("app_list")["apps"][0]["state"] == "detached"
    container.answer(container.batches[0], lambda x: x + 1)
    world.turn()
    assert later.value(later.get(call_id)) == 2
    [row] = later.request("app_list")["apps"]
    assert row["state"] == "stopped", "its last call is finished"
    assert container.exited.done()


def test_a_detached_app_whose_pools_are_never_empty_still_ends_cleanly(world: World):
    """Its last call finishes in the same breath as a container is wanted."""
    client = world.client()
    client.open(function_spec(min_containers=2, single_use_containers=True), detach=True)
    client.spawn(1)
    client.close()
    world.turn()
    container = next(container for container in world.live() if container.batches)
    container.answer(container.batches[0], lambda x: x)
    world.turn()
    assert world.hub.scheduler.state.fleet.nodes["local"].ledger.booked_count == 0
    assert world.live() == []


def test_a_call_that_is_spawned_again_after_a_lost_connection_runs_once(world: World):
    runs: list[int] = []
    world.serve = runs.append
    client = world.client()
    client.open(detach=True)
    world.serve = None
    number = client.submit([1], flags=frames.OPEN | frames.LAST | RETAIN)
    world.turn()
    session = client.session
    client.close()
    world.turn()
    again = world.client(hello=False)
    assert again.hello(session)["session"] == session
    again.open()
    again.submit([1], number=number, flags=frames.OPEN | frames.LAST | RETAIN)
    world.turn()
    assert again.reply(number) == {"id": number}
    call_id = f"fc-{session}{number:010x}"
    assert again.request("call_inputs", call=call_id)["value"] == 1
    [container] = world.containers
    container.answer(container.batches[0], lambda x: x + 1)
    world.turn()
    again.submit([1], number=number, flags=frames.OPEN | frames.LAST | RETAIN)
    world.turn()
    assert again.value(again.get(call_id)) == 2, "it was finished already when it came again"
    assert [container.batches for container in world.containers] == [[]]


def test_who_stopped_waiting_is_not_sent_the_result(world: World, client: Client):
    """A program that polls with a timeout asks thousands of times."""
    client.open()
    call_id = client.spawn(1)
    for _ in range(3):
        client.event("cancel", call=client.get(call_id))
    kept = client.get(call_id)
    [container] = world.containers
    container.answer(container.batches[0], lambda x: x)
    world.turn()
    assert list(client.results) == [kept]


def test_who_is_gone_waits_no_more(world: World, client: Client):
    client.open()
    call_id = client.spawn(1)
    other = world.client()
    other.get(call_id)
    other.close()
    world.turn()
    assert world.hub.calls[call_id.removeprefix("fc-")].watchers == {}
