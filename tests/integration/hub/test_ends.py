"""Calls that end otherwise than by their result: cancelled, timed out, abandoned, stopped."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.integration.hub.players import function_spec
from volant import errors
from volant.wire import frames
from volant.wire.payloads import dumps
from volantd.hub import peer as peers
from volantd.hub.hub import ENDED_MAX

if TYPE_CHECKING:
    from tests.integration.hub.world import Batch, Client, Container, World


def running(world: World, client: Client, **given: object) -> tuple[int, Container, Batch]:
    """A call that runs, with its container and its batch."""
    client.open(function_spec(max_containers=1, **given))
    number = client.call(1)
    [container] = world.containers
    return number, container, container.batches[0]


def test_cancelling_interrupts_what_runs_and_delivers_nothing(world: World, client: Client):
    number, container, batch = running(world, client)
    client.event("cancel", call=number)
    client.event("cancel", call=number)
    world.turn()
    assert container.events == [{"op": "cancel", "batch": batch.key}]
    assert container.signals == [10], "SIGUSR1 makes it read its connection"
    container.answer(batch, lambda x: x)
    world.turn()
    assert number not in client.results
    world.serve = lambda x: x + 1
    assert client.value(client.call(1)) == 2, "the container goes on"


def test_cancelled_inputs_that_wait_never_run(world: World, client: Client):
    number, container, batch = running(world, client)
    waiting = client.submit([2, 3])
    world.turn()
    client.event("cancel", call=waiting)
    world.turn()
    container.answer(batch, lambda x: x)
    world.turn()
    assert client.value(number) == 1
    assert container.batches == []


def test_inputs_of_a_cancelled_map_are_dropped_with_their_files(world: World, client: Client):
    client.open()
    number = client.submit([1], flags=frames.OPEN)
    client.event("cancel", call=number)
    kind, payload, fd = dumps(((np.zeros(1 << 20),), {}))
    assert fd is not None
    section = frames.items_section([(kind, payload)])
    client.send(frames.hot(frames.SUBMIT, frames.HAS_FD, number, 1, 1, 1 << 16, section), fd)
    os.close(fd)
    client.submit([], number=number, first=2, flags=frames.LAST)
    world.turn()
    assert number not in client.results
    assert number not in client.replies


def test_a_file_that_comes_without_inputs_is_closed(world: World, client: Client):
    client.open()
    with open(os.memfd_create("file"), "wb") as file:
        client.send(
            frames.hot(frames.SUBMIT, frames.HAS_FD | frames.OPEN, 7, 0, 0, 1 << 16, b""),
            file.fileno(),
        )
    world.turn()
    assert not client.broken


def test_an_input_that_runs_too_long_is_killed_and_told(world: World, client: Client):
    number, container, _ = running(world, client, timeout=0.05)
    world.until(lambda: number in client.results)
    with pytest.raises(errors.FunctionTimeoutError, match=r"longer than its timeout of 0\.05 s"):
        client.value(number)
    assert container.signals == [9]


def test_a_container_that_is_stuck_gives_back_what_it_did_not_start(world: World, client: Client):
    """Its inputs were fast, so it was given many; then one of them is slow."""
    world.serve = lambda x: x
    client.open(function_spec(max_containers=2))
    client.call(0)
    [stuck] = world.containers
    world.serve = None
    number = client.submit(list(range(40)))
    world.turn()
    [batch] = stuck.batches
    assert batch.count == 40
    world.serve = lambda x: x
    world.until(lambda: stuck.events)
    assert stuck.events == [{"op": op, "batch": batch.key} for op in ("flush", "reclaim")]
    stuck.event("returned", batch=batch.key, count=39)
    world.until(lambda: len(client.results.get(number, ())) == 39)
    batch.count, batch.items = 1, batch.items[:1]
    stuck.answer(batch, lambda x: x)
    world.turn()
    assert [client.value(number, index) for index in range(40)] == list(range(40))
    assert client.deliveries == 41
    assert len(world.containers) == 2


def test_a_client_that_is_gone_wants_nothing_any_more(world: World):
    client = world.client()
    client.open(function_spec(max_containers=1))
    client.call(1)
    client.call(2)
    client.close()
    world.turn()
    assert world.hub.apps == {}
    assert world.hub.calls == {}
    assert world.hub.functions == {}
    assert world.containers[0].signals == [signal.SIGUSR1], "it may clean up"
    assert world.containers[0].exited.done()
    assert world.hub.scheduler.state.calls == {}


def test_a_stopped_app_fails_its_calls_for_the_client_that_waits(world: World, client: Client):
    """Also a map, of which the hub cannot know how many inputs are yet to come."""
    app_id = client.open(function_spec(max_containers=1))
    call = client.call(1)
    mapped = client.submit([1, 2, 3], flags=frames.OPEN)
    spawned = client.spawn(4)
    waiting = client.get(spawned)
    world.client().request("app_stop", app=app_id)
    with pytest.raises(errors.InputCancellation):
        client.value(call)
    with pytest.raises(errors.InputCancellation):
        client.reply(mapped)
    with pytest.raises(errors.InputCancellation):
        client.value(waiting)


def test_closing_an_app_closes_only_that_one(world: World, client: Client):
    world.serve = lambda x: x
    first = client.open()
    client.open(base=1 << 17)
    client.request("app_close", app_id=first, reason="finished")
    assert client.value(client.call(1, function=1 << 17)) == 1
    assert client.request("app_close", app_id=first, reason="again") == {"id": client.number}


def test_an_app_whose_client_leaves_is_forgotten_on_its_connection_too(
    world: World, client: Client
):
    for _ in range(3):
        app_id = client.open(function_spec("f"), function_spec("g"))
        client.request("app_close", app_id=app_id, reason="finished")
    [session] = world.hub.sessions
    assert (session.apps, session.functions) == ({}, {})


def test_a_detached_app_with_calls_is_left_running_by_app_close(world: World, client: Client):
    app_id = client.open(detach=True)
    client.spawn(1)
    assert client.request("app_close", app_id=app_id, reason="x")["state"] == "detached"
    assert client.request("app_list")["apps"][0]["state"] == "detached"
    [container] = world.containers
    container.answer(container.batches[0], lambda x: x)
    world.turn()
    assert world.hub.apps == {}


def test_an_app_that_ended_without_printing_is_listed(world: World, client: Client):
    app_id = client.open(function_spec("g"), function_spec("f"), name="quiet", tags={"team": "ml"})
    world.serve = lambda x: x
    client.value(client.call(1))
    client.request("app_close", app_id=app_id, reason="finished")
    [row] = client.request("app_list")["apps"]
    assert {key: row[key] for key in row if key != "created_at"} == {
        "app_id": app_id, "name": "quiet", "environment": "main", "tags": {"team": "ml"},
        "state": "stopped", "functions": ["f", "g"], "containers": 0, "calls": 1, "version": 0,
    }  # fmt: skip
    for wanted in (app_id, "quiet"):
        reply = client.request("app_logs", app=wanted)
        assert (reply["app_id"], reply["entries"]) == (app_id, [])


def test_an_app_that_printed_and_ended_is_listed_once(world: World, client: Client):
    app_id = client.open()
    client.call(1)
    world.containers[0].print(b"words\n")
    world.turn()
    client.request("app_close", app_id=app_id, reason="finished")
    assert [row["app_id"] for row in client.request("app_list")["apps"]] == [app_id]


def test_few_apps_that_ended_are_remembered_and_little_of_each(world: World, client: Client):
    ended = []
    for _ in range(ENDED_MAX + 3):
        app_id = client.open()
        client.request("app_close", app_id=app_id, reason="finished")
        ended.append(app_id)
    assert [row["app_id"] for row in client.request("app_list")["apps"]] == ended[3:]
    app_id = client.open(*(function_spec(f"f{number}") for number in range(300)))
    client.request("app_close", app_id=app_id, reason="finished")
    assert len(client.request("app_list")["apps"][-1]["functions"]) == 100


def test_a_client_that_does_not_read_is_dropped_and_harms_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(peers, "QUEUED_BYTES_MAX", 1 << 20)
    world.serve = lambda x: bytes(100_000)
    deaf = world.client()
    deaf.open()
    deaf.receive = lambda: False  # type: ignore[method-assign]  # it does not look
    for _ in range(60):
        deaf.submit([1])
    world.turn()
    assert len(world.hub.sessions) == 0
    assert world.hub.apps == {}
    deaf.close()


def test_a_client_that_reads_slowly_gets_everything(world: World, client: Client):
    world.serve = lambda x: bytes(300_000)
    client.open()
    receive, client.receive = client.receive, lambda: False  # type: ignore[method-assign]
    numbers = [client.submit([1]) for _ in range(20)]
    world.turn()
    client.receive = receive  # type: ignore[method-assign]
    world.turn()
    assert all(len(client.value(number)) == 300_000 for number in numbers)
