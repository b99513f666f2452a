"""Lists of durable calls, one of them, and what was printed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from volant import errors
from volant.wire import frames
from volant.wire.faults import encode_fault
from volantd.hub.pools import streams
from volantd.runtime.client import PrepareFailedError, RuntimeFailedError

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

FIELDS = {"app": None, "state": None, "count": 100}


def _listed(client: Client, **fields: Any) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = client.request("call_list", **{**FIELDS, **fields})["calls"]
    return calls


def _spawn_many(world: World, client: Client, values: list[Any]) -> str:
    number = client.submit(values, flags=frames.OPEN | frames.RETAIN | frames.LAST)
    world.turn()
    return f"fc-{client.session}{number:010x}"


def test_without_any_call_the_list_is_empty(client: Client):
    assert _listed(client) == []


def test_calls_are_listed_with_how_they_stand(world: World, client: Client):
    world.serve = lambda x: 1 // x
    app_id = client.open()
    first, second = client.spawn(1), _spawn_many(world, client, [1, 0, 1])
    latest, before = _listed(client)
    assert (before["call_id"], latest["call_id"]) == (f"fc-{first.removeprefix('fc-')}", second)
    assert (before["state"], before["done"], before["failed"]) == ("success", 1, 0)
    assert (latest["state"], latest["inputs"], latest["done"], latest["failed"]) == (
        "failure", 3, 3, 1,
    )  # fmt: skip
    assert latest["app_id"] == app_id
    assert latest["finished_at"] >= latest["created_at"]
    assert [one["call_id"] for one in _listed(client, state="failure")] == [second]
    assert _listed(client, app="another") == _listed(client, state="pending") == []
    assert len(_listed(client, app=app_id)) == len(_listed(client, app=latest["app"])) == 2
    assert len(_listed(client, count=1)) == 1


def test_a_call_that_runs_shows_how_far_it_is(world: World, client: Client):
    client.open(function_spec(max_containers=1))
    call_id = _spawn_many(world, client, [1, 2, 3])
    [container] = world.containers
    container.outcome(container.batches[0], [(frames.PICKLE, b"1")])
    world.turn()
    shown = client.request("call_show", call=call_id)
    row = shown["call"]
    assert (row["state"], row["done"], row["inputs"]) == ("pending", 1, 3)
    assert shown["results"]["values"] == 1
    assert _listed(client)[0]["done"] == 1


def test_faults_of_a_call_are_shown_as_text(world: World, client: Client):
    world.serve = lambda x: 1 // x
    client.open()
    shown = client.request("call_show", call=_spawn_many(world, client, [1, 0, 0]))
    assert [fault["index"] for fault in shown["faults"]] == [1, 2]
    assert "ZeroDivisionError" in shown["faults"][0]["text"]
    assert shown["results"] == {"values": 1, "faults": 2, "files": 0} | {
        "bytes": shown["results"]["bytes"]
    }


def test_a_call_shows_those_that_it_made(world: World, client: Client):
    client.open()
    parent = client.spawn(1)
    [container] = world.containers
    child = container.user.submit([2], function=0, flags=frames.OPEN | frames.RETAIN | frames.LAST)
    world.turn()
    shown = client.request("call_show", call=parent)
    [row] = shown["calls"]
    assert row["call_id"].endswith(f"{child:010x}")
    assert (row["parent"].removeprefix("fc-"), row["parent_index"]) == (
        parent.removeprefix("fc-"), 0,
    )  # fmt: skip


@pytest.mark.parametrize("op", ["call_show", "call_logs"])
def test_an_unknown_call_is_not_found(client: Client, op: str):
    with pytest.raises(errors.NotFoundError, match="no call fc-nothing"):
        client.request(op, call="fc-nothing", tail=None)


def test_cancelling_says_whether_there_was_something_to_cancel(world: World, client: Client):
    client.open()
    call_id = client.spawn(1)
    assert client.request("call_cancel", call=call_id)["cancelled"]
    world.turn()
    assert not client.request("call_cancel", call=call_id)["cancelled"]
    assert _listed(client)[0]["state"] == "cancelled"


def test_what_is_printed_is_that_of_the_call_that_runs(world: World, client: Client):
    client.open(function_spec(max_containers=1))
    client.call(1)
    [container] = world.containers
    container.print(b"plain\n")
    world.turn()
    container.answer(container.batches[0], lambda x: x)
    calls = []
    for text in (b"one\n", b"two\n"):
        calls.append(client.spawn(1))
        container.print(text)
        container.answer(container.batches[0], lambda x: x)  # read before the outcome is taken
        world.turn()
    for call_id, text in zip(calls, (b"one\n", b"two\n"), strict=True):
        reply = client.request("call_logs", call=call_id, tail=None, follow=False)
        assert [entry["data"] for entry in reply["entries"]] == [text]


def test_what_is_printed_beside_another_call_is_shown_for_both(world: World, client: Client):
    spec = function_spec(max_containers=1)
    spec["options"] = {**spec["options"], "max_inputs": 2}
    client.open(spec)
    calls = [client.spawn(1), client.spawn(2)]
    [container] = world.containers
    container.print(b"either\n")
    world.turn()
    for call_id in calls:
        reply = client.request("call_logs", call=call_id, tail=None, follow=False)
        assert [entry["data"] for entry in reply["entries"]] == [b"either\n"]


def test_followers_of_a_call_hear_of_it_alone(world: World, client: Client):
    client.open(function_spec(max_containers=2))
    call_id, _ = client.spawn(1), client.spawn(2)
    other = world.client()
    other.request("call_logs", call=call_id, tail=0, follow=True)
    for container in world.containers:
        container.print(str(container.batches[0].first).encode() + container.container_id.encode())
    world.turn()
    told = [event for event in other.events if event["op"] == "log"]
    assert len(told) == 1
    assert told[0]["calls"] == [f"fc-{call_id.removeprefix('fc-')}"]


@pytest.mark.parametrize(
    "fields", [{"state": "lost"}, {"count": -1}, {"count": 1 << 40}, {"app": 7}, {"state": b"x"}]
)
def test_a_list_that_makes_no_sense_is_refused(world: World, client: Client, fields: Any):
    with pytest.raises((errors.Error, AssertionError)):
        _listed(client, **fields)
    world.check()


@pytest.mark.parametrize("op", ["call_list", "call_show", "call_logs"])
def test_user_code_in_containers_cannot_look_at_calls(world: World, client: Client, op: str):
    client.open()
    call_id = client.spawn(1)
    user = world.containers[0].user
    with pytest.raises(errors.InvalidError, match="knows no request"):
        user.request(op, call=call_id, tail=None, **FIELDS)


def _graph(asking: Client, call_id: str) -> dict[tuple[str, int], dict[str, Any]]:
    inputs = asking.request("call_graph", call=call_id)["inputs"]
    return {(node["call_id"], node["index"]): node for node in inputs}


@pytest.mark.parametrize("is_of_user", [True, False])
def test_an_input_without_a_container_is_told_from_one_that_failed(
    world: World, client: Client, is_of_user: bool
):
    if is_of_user:
        world.prepare_failures.append(PrepareFailedError(encode_fault(ValueError("at import"))))
    else:
        world.fork_failures += [RuntimeFailedError("no cell can be made")] * 50
    client.open(function_spec(max_containers=1))
    call_id = client.spawn(1)
    world.until(lambda: client.request("call_show", call=call_id)["call"]["state"] == "failure")
    [node] = _graph(client, call_id).values()
    assert node["status"] == "init_failure"
    with pytest.raises(ValueError if is_of_user else errors.InternalFailure):
        client.value(client.get(call_id))


def _concurrent(count: int) -> dict[str, Any]:
    spec = function_spec(max_containers=1)
    spec["options"] = {**spec["options"], "max_inputs": count}
    return spec


def _bare(call_id: str) -> str:
    return call_id.removeprefix("fc-")


def test_a_graph_has_what_inputs_spawned_even_side_by_side(world: World, client: Client):
    client.open(_concurrent(2))
    parents = [_bare(client.spawn(number)) for number in range(2)]
    [container] = world.containers
    user = container.user
    user.hello()
    children = []
    for parent in parents:
        user.event("spawning", call=user.number + 1, parent=[parent, 0], key=None)
        children.append(_bare(user.spawn(5, function=0)))
    for parent, child in zip(parents, children, strict=True):
        nodes = _graph(client, parent)
        assert nodes.keys() == {(parent, 0), (child, 0)}
        assert nodes[child, 0]["parent"] == parent
        assert nodes[parent, 0]["parent"] is None
        assert nodes[parent, 0]["container_id"] == container.start["container_id"]
        assert nodes[parent, 0]["module"] == "m"
        assert nodes[parent, 0]["status"] == "pending"
    assert _graph(user, parents[0]) == _graph(client, parents[0])


def test_a_graph_has_plain_calls_before_and_after_the_end(world: World, client: Client):
    client.open(function_spec(max_containers=1), function_spec("g", max_containers=1))
    parent = _bare(client.spawn(1))
    [container] = world.containers
    for number in (1, 0):
        container.user.call(number, function=1)
    [_, other] = world.containers
    container.user.call(2, function=1)  # this one has not ended
    for _ in range(2):
        other.answer(other.batches[0], lambda x: 1 // x)
        world.turn()
    before = _graph(client, parent)
    plain = [node for key, node in before.items() if key[0] != parent]
    assert [node["status"] for node in plain] == ["success", "failure", "pending"]
    assert {(node["function"], node["parent"], node["parent_index"]) for node in plain} == {
        ("g", parent, 0)
    }
    other.answer(other.batches[0], lambda x: x)
    container.answer(container.batches[0], lambda x: x)
    world.turn()
    after = _graph(client, parent)
    assert [node["status"] for node in after.values()] == ["success"] * 2 + ["failure", "success"]
    assert after[parent, 0]["container_id"] == container.start["container_id"]


def test_inputs_of_a_graph_tell_how_they_ended(world: World, client: Client):
    world.serve = lambda x: 1 // x
    client.open(function_spec(max_containers=1))
    call_id = _bare(_spawn_many(world, client, [1, 0]))
    assert [node["status"] for node in _graph(client, call_id).values()] == ["success", "failure"]
    world.serve = None
    cancelled = client.spawn(1)
    client.request("call_cancel", call=cancelled)
    world.turn()
    assert _graph(client, cancelled)[_bare(cancelled), 0]["status"] == "terminated"


@pytest.mark.parametrize("parent", [["x" * 26, 0], [None, 0], [7, 0], ["x"], "x", 5, ["x", -1]])
def test_a_parent_that_is_none_is_passed_over(world: World, client: Client, parent: Any):
    client.open()
    client.spawn(1)
    user = world.containers[0].user
    user.event("spawning", call=user.number + 1, parent=parent, key=None)
    world.turn()
    world.check()


STREAM = {"tail": None, "after": -1.0, "wait_s": 60.0}


def _printed(world: World, client: Client, text: bytes) -> str:
    """Have a container print something while it runs a call, and end the call."""
    call_id = client.spawn(1)
    [container] = world.containers
    container.print(text)
    container.answer(container.batches[0], lambda x: x)
    world.turn()
    return call_id


def test_a_stream_goes_on_from_where_it_was(world: World, client: Client):
    app_id = client.open(function_spec(max_containers=1))
    _printed(world, client, b"before\n")
    begun = client.request("app_logs", app=app_id, **STREAM)
    assert (begun["entries"], begun["ended"]) == ([], False)
    for text in (b"one\n", b"two\n"):
        _printed(world, client, text)
    fields = {**STREAM, "after": begun["last"]}
    found = client.request("app_logs", app=app_id, **fields)
    assert [entry["data"] for entry in found["entries"]] == [b"one\n", b"two\n"]
    rest = client.request("app_logs", app=app_id, **{**fields, "after": found["last"], "wait_s": 0})
    assert (rest["entries"], rest["last"], rest["ended"]) == ([], found["last"], False)


def test_a_question_of_a_stream_waits_for_what_it_is_about(world: World, client: Client):
    app_id = client.open(function_spec(max_containers=1))
    call_id = _printed(world, client, b"before\n")
    start = client.request("app_logs", app=app_id, **STREAM)["last"]
    asked = client.ask("app_logs", app=app_id, **{**STREAM, "after": start, "source": "stdout"})
    other = client.ask("app_logs", app=app_id, **{**STREAM, "after": start, "source": "system"})
    world.turn()
    assert not {asked, other} & set(client.replies)
    _printed(world, client, b"after\n")
    assert [entry["data"] for entry in client.replies[asked]["entries"]] == [b"after\n"]
    assert other not in client.replies
    client.event("cancel", call=other)
    world.turn()
    assert world.hub.streams._waiting == {}
    ended = client.request("call_logs", call=call_id, **{**STREAM, "after": 0.0})
    assert [entry["data"] for entry in ended["entries"]] == [b"before\n"]
    assert client.request("call_logs", call=call_id, **{**STREAM, "after": ended["last"]})["ended"]


def test_what_comes_after_a_moment_is_found_from_the_end_of_a_long_log(
    world: World, client: Client
):
    app_id = client.open()
    [function] = world.hub.functions.values()
    logs = world.services.logs
    for size in (1, 30_000, 200_000, 5, 70_000, 1):  # below and above what is read at once
        for number in range(3):
            logs.append(function, "ta-1", "stdout", f"{size}-{number}-".encode() + b"x" * size)
    every = logs.read(app_id, tail=None)
    assert len(every) == 18
    for place, entry in enumerate(every):
        assert logs.read(app_id, tail=None, after=entry["time"]) == every[place + 1 :]
    assert logs.read(app_id, tail=None, after=1.0, count_max=2) == every[:2]


def test_a_stream_ends_with_its_app(world: World, client: Client):
    app_id = client.open(function_spec(max_containers=1))
    start = client.request("app_logs", app=app_id, **STREAM)["last"]
    asked = client.ask("app_logs", app=app_id, **{**STREAM, "after": start})
    world.turn()
    client.request("app_stop", app=app_id)
    assert client.replies[asked]["ended"]


def test_one_client_waits_for_a_bounded_number_of_streams(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(streams, "WAITING_MAX", 2)
    app_id = client.open()
    fields = {**STREAM, "after": client.request("app_logs", app=app_id, **STREAM)["last"]}
    for _ in range(2):
        client.ask("app_logs", app=app_id, **fields)
    with pytest.raises(errors.ResourceExhaustedError, match="2 streams"):
        client.request("app_logs", app=app_id, **fields)
    client.close()
    world.turn()
    assert (world.hub.streams._waiting, world.hub.streams._counts) == ({}, {})


@pytest.mark.parametrize(
    "fields",
    [{"after": "x"}, {"after": 1e99}, {"wait_s": 1e9}, {"source": "file"}, {"since": -1.0}],
    ids=str,
)
def test_a_stream_that_makes_no_sense_ends_its_connection(
    world: World, client: Client, fields: dict[str, Any]
):
    app_id = client.open()
    other = world.client()
    with pytest.raises(AssertionError, match="broken: True"):
        other.request("app_logs", app=app_id, **{**STREAM, "after": 0.0, **fields})
    assert client.request("app_logs", app=app_id, **STREAM)["ended"] is False
    world.check()
