"""Calls that have ended, run again at the hub: what it refuses, and what it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from volant import errors
from volant.wire import frames

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

FIELDS: dict[str, Any] = {"index": None, "debug": "", "detach": False}


def _replay(world: World, client: Client, call: str, **fields: Any) -> dict[str, Any]:
    return client.request("call_replay", call=call, **{**FIELDS, **fields})


def test_a_call_runs_again_with_its_inputs(world: World, client: Client):
    ran: list[int] = []
    world.serve = lambda x: ran.append(x) or x * 2
    client.open(function_spec(max_containers=1))
    number = client.submit([1, 2], flags=frames.OPEN | frames.RETAIN)
    client.submit([3], number=number, first=2, flags=frames.LAST)
    world.turn()
    call_id = f"fc-{client.session}{number:010x}"
    again = _replay(world, client, call_id)
    assert again["inputs"] == 3
    assert [client.value(client.get(again["call_id"], at), at) for at in range(3)] == [2, 4, 6]
    one = _replay(world, client, call_id, index=1)
    assert client.value(client.get(one["call_id"])) == 4
    assert ran == [1, 2, 3, 1, 2, 3, 2]
    row = client.request("call_show", call=one["call_id"])["call"]
    assert (row["origin"], row["state"]) == (f"replay:{call_id}", "success")


def test_a_replay_ends_with_its_client_unless_it_is_detached(world: World, client: Client):
    world.serve = lambda x: x
    client.open(function_spec(max_containers=1))
    call_id = client.spawn(1)
    world.serve = None
    other = world.client()
    kept, dropped = (
        _replay(world, other, call_id, detach=detach)["call_id"] for detach in (True, False)
    )
    other.close()
    world.turn()
    states = {
        call: client.request("call_show", call=call)["call"]["state"] for call in (kept, dropped)
    }
    assert states == {kept: "pending", dropped: "cancelled"}
    client.request("call_cancel", call=kept)
    world.turn()


def test_what_has_not_ended_is_not_replayed(world: World, client: Client):
    client.open()
    with pytest.raises(errors.InvalidError, match="has not finished"):
        _replay(world, client, client.spawn(1))


def test_debugging_needs_a_terminal(world: World, client: Client):
    world.serve = lambda x: x
    client.open()
    with pytest.raises(errors.InvalidError, match="on the terminal of a client"):
        _replay(world, client, client.spawn(1), debug="first-line")


@pytest.mark.parametrize(
    "fields", [{"index": -1}, {"index": "x"}, {"debug": "else"}, {"debug": 1}, {"detach": None}]
)
def test_a_wish_that_makes_no_sense_is_refused(world: World, client: Client, fields: Any):
    world.serve = lambda x: x
    client.open()
    call_id = client.spawn(1)
    with pytest.raises((errors.Error, AssertionError)):
        _replay(world, client, call_id, **fields)
    world.check()


def test_user_code_in_containers_replays_nothing(world: World, client: Client):
    client.open()
    call_id = client.spawn(1)
    with pytest.raises(errors.InvalidError, match="knows no request"):
        _replay(world, world.containers[0].user, call_id)
