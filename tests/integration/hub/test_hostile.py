"""Whatever anybody sends ends their own connection and nothing else.

Each test leaves the hub to the fixture's last look: alive, true to its invariants, serving others,
no exception that reached the event loop, no descriptor left.
"""

from __future__ import annotations

import math
import random
import socket
from struct import pack
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import IMAGE, description, function_spec
from volant.wire import frames, values

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.hub.world import Client, Container, World

HUGE = (1 << 64) - 1
INFINITY = math.inf


def control(kind: int, **fields: object) -> bytes:
    return frames.control(kind, values.encode(fields))


def request(op: object, **fields: object) -> bytes:
    return control(frames.REQUEST, **{"id": 1, "op": op, **fields})


def event(op: object, **fields: object) -> bytes:
    return control(frames.EVENT, op=op, **fields)


def submit(
    number: int = 1, first: int = 0, count: int = 1, function: int = 1 << 16, section: bytes = b"",
    flags: int = frames.OPEN | frames.LAST,
) -> bytes:  # fmt: skip
    return frames.hot(frames.SUBMIT, flags, number, first, count, function, section)


def opened(**changes: object) -> bytes:
    return request("app_open", app={**description(), **changes})


def with_option(*, generates: bool = False, **changes: object) -> bytes:
    spec = function_spec(generates=generates)
    spec["options"] = {**spec["options"], **changes}
    return request("app_open", app=description(spec))


BUILT = {"kind": "built", "attached": [], "contents": {}, "secrets": {}}
ITEM = frames.items_section([(frames.PICKLE, b"x")])
BROKEN: dict[str, bytes] = {
    "a frame that is too long": pack("<IBB", frames.FRAME_BYTES_MAX + 1, 1, 0),
    "an unknown type": pack("<IBB", 0, 99, 0),
    "a container's frame": frames.hot(frames.OUTCOME, 0, 1, 0, 0, 0, b""),
    "a hub's frame": frames.hot(frames.RESULT, 0, 1, 0, 0, 0, b""),
    "an empty request": frames.control(frames.REQUEST, b""),
    "a request that is no map": frames.control(frames.REQUEST, b"\x90"),
    "a request without an operation": control(frames.REQUEST, id=1),
    "a request without a number": control(frames.REQUEST, op="hello"),
    "a request of a negative number": control(frames.REQUEST, id=-1, op="app_list"),
    "a request of a number beyond 63 bits": control(frames.REQUEST, id=HUGE, op="app_list"),
    "a request of an infinite number": control(frames.REQUEST, id=INFINITY, op="app_list"),
    "a request of a text": control(frames.REQUEST, id="1", op="app_list"),
    "a request of a switch": control(frames.REQUEST, id=True, op="app_list"),
    "hello without a session": request("hello"),
    "hello of a number": request("hello", session=7),
    "an event that is no map": frames.control(frames.EVENT, b"\x01"),
    "an event without an operation": frames.control(frames.EVENT, b"\x80"),
    "a cancel of nothing": event("cancel"),
    "a cancel of infinity": event("cancel", call=INFINITY),
    "a poke of a list": event("poke", call=[]),
    "credit of nothing": event("credit", call=1),
    "negative credit": event("credit", call=1, count=-1),
    "infinite credit": event("credit", call=1, count=INFINITY),
    "an upload of nothing": event("upload"),
    "an empty call": pack("<IBB", 0, frames.SUBMIT, frames.OPEN),
    "half a call": pack("<IBB", 5, frames.SUBMIT, frames.OPEN) + b"12345",
    "a call with fewer items than it says": submit(count=2, section=ITEM),
    "a call with more bytes than its items": submit(section=ITEM + b"x"),
    "a call without its items": submit(count=65535),
    "a call without its file": submit(section=ITEM, flags=frames.OPEN | frames.HAS_FD),
    "a call of a number beyond ids": submit(number=1 << 40, section=ITEM),
    "a call of a huge number": submit(number=HUGE, section=ITEM),
    "an app that is nothing": request("app_open"),
    "an app that answers to the web by a list": opened(functions=[{**function_spec(), "web": []}]),
    "an app that is a list": request("app_open", app=[]),
    "an app without anything": request("app_open", app={}),
    "an app whose name is a number": opened(name=7),
    "an app with tags that are a list": opened(tags=["team"]),
    "an app with a tag that is a number": opened(tags={"team": 7}),
    "an app with a tag without a name": opened(tags={"": "ml"}),
    "an app with a tag without a value": opened(tags={"team": ""}),
    "an app with a tag that a terminal obeys": opened(tags={"team": "\x1b[2J"}),
    "an app with a name of a tag that is long": opened(tags={"t" * 65: "ml"}),
    "an app with a tag that is long": opened(tags={"team": "m" * 65}),
    "an app with many tags": opened(tags={f"t{number}": "x" for number in range(65)}),
    "tags of no app": request("app_set_tags", tags={}),
    "tags that are none": request("app_set_tags", app_id="ap-1"),
    "tags that are numbers": request("app_set_tags", app_id="ap-1", tags={"team": 1}),
    "an app with functions that are no list": opened(functions={"f": 1}),
    "an app with a function that is no map": opened(functions=[7]),
    "an app with a function without a name": opened(functions=[{}]),
    "an app at an infinite number": opened(base=INFINITY),
    "an app at a huge number": opened(base=HUGE),
    "an app at a negative number": opened(base=-1),
    "an app with files that are no list": opened(files=7),
    "an app with a file that is no list": opened(files=[7]),
    "an app with an empty file": opened(files=[[]]),
    "an app with an image that is nothing": opened(images=[None]),
    "an app with images that are none": opened(images=None),
    "an app without an image": opened(images=[]),
    "an app with a function of an image that is not there": opened(
        functions=[{**function_spec(), "image": 1}]
    ),
    "an app with trees that are a text": opened(images=[{**IMAGE, "trees": "/"}]),
    "an app with trees that are numbers": opened(images=[{**IMAGE, "trees": [1]}]),
    "an app with an entry that is a text": opened(entry="m"),
    "an app with a path of numbers": opened(entry={"module": None, "file": None, "path": [1]}),
    "an app that is detached perhaps": opened(detach="perhaps"),
    "an environment of numbers": with_option(env={"A": 1}),
    "an environment that is a list": with_option(env=["A"]),
    "a timeout of zero": with_option(timeout_s=0),
    "a timeout that is no number": with_option(timeout_s=math.nan),
    "an infinite timeout": with_option(timeout_s=INFINITY),
    "a timeout that is a text": with_option(timeout_s="1"),
    "retries that are a number": with_option(retries=3),
    "retries below zero": with_option(retries={"max_retries": -1}),
    "a shrinking backoff": with_option(
        retries={
            "max_retries": 1, "backoff_coefficient": 0.5, "initial_delay_s": 0, "max_delay_s": 0,
        }
    ),
    "retries that shrink the memory": with_option(
        retries={
            "max_retries": 1, "backoff_coefficient": 1, "initial_delay_s": 0, "max_delay_s": 0,
            "memory_multiplier": 0.5,
        }
    ),
    "retries that make the memory huge": with_option(
        retries={
            "max_retries": 1, "backoff_coefficient": 1, "initial_delay_s": 0, "max_delay_s": 0,
            "memory_multiplier": 1e300,
        }
    ),
    "GPUs that are a text": with_option(gpu="H100"),
    "a GPU that is a text": with_option(gpu=["H100"]),
    "a GPU that is a list of one": with_option(gpu=[["H100"]]),
    "a GPU whose name is a number": with_option(gpu=[[7, 1]]),
    "a GPU that nothing is called": with_option(gpu=[["../nvidia0", 1]]),
    "no GPU at all": with_option(gpu=[["H100", 0]]),
    "more GPUs than a container may have": with_option(gpu=[["H100", 9]]),
    "half a GPU": with_option(gpu=[["H100", 0.5]]),
    "too many alternatives of GPUs": with_option(gpu=[["H100", 1]] * 17),
    "a disk of nothing": with_option(ephemeral_disk_mib=0),
    "an infinite disk": with_option(ephemeral_disk_mib=INFINITY),
    "containers below zero": with_option(min_containers=-1),
    "half a container": with_option(min_containers=0.5),
    "more containers than at most": with_option(min_containers=5, max_containers=2),
    "at most no container": with_option(max_containers=0),
    "more containers than there can be": with_option(buffer_containers=1 << 40),
    "an infinite memory": with_option(memory_mib=INFINITY),
    "a memory limit that is a text": with_option(memory_limit_mib="1"),
    "a switch that is a number": with_option(single_use=1),
    "no input at once": with_option(max_inputs=0),
    "more inputs at once than there can be": with_option(max_inputs=1 << 40),
    "half an input at once": with_option(max_inputs=1.5),
    "a target of no input": with_option(max_inputs=3, target_inputs=0),
    "a target above the maximum": with_option(max_inputs=3, target_inputs=4),
    "several inputs at once for single use": with_option(max_inputs=2, single_use=True),
    "the autoscaler of no function": request("function_settings"),
    "the autoscaler of a negative number": request("function_settings", number=-1),
    "the autoscaler of infinity": request("function_update", number=INFINITY),
    "an autoscaler that keeps half a container": request(
        "function_update", number=0, min_containers=0.5
    ),
    "an autoscaler that keeps too many": request(
        "function_update", number=0, buffer_containers=HUGE
    ),
    "an autoscaler that keeps nothing": request(
        "function_update", number=0, buffer_containers=None
    ),
    "an autoscaler of no container": request("function_update", number=0, max_containers=0),
    "an autoscaler with a window of a text": request(
        "function_update", number=0, scaledown_window_s="1"
    ),
    "an autoscaler with an endless window": request(
        "function_update", number=0, scaledown_window_s=INFINITY
    ),
    "statistics of a list": request("function_stats", function=["f"]),
    "a call that is asked for by a number": request("call_get", call=7, index=0, wait=True),
    "an image that is looked for by a number": request("image_inspect", image=7),
    "a log from a negative step on": request("image_logs", image="x", step=-2, offset=0, wait=True),
    "a log from infinity on": request("image_logs", image="x", step=0, offset=INFINITY, wait=True),
    "a log without a wish": request("image_logs", image="x", step=0, offset=0),
    "images that are older than nothing": request("image_prune", all=True, dry_run=True),
    "images that are older than infinity": request(
        "image_prune", all=True, dry_run=True, older_than_s=INFINITY
    ),
    "an image that is built of no app": request("image_build", index=0),
    "an image at a negative index": request("image_build", app_id="ap-1", index=-1),
    "an image that is published as a path": request(
        "image_publish", image_id="im-1", name="../x", tag="1"
    ),
    "names that begin with a number": request("image_names", prefix=1),
    "a name without a tag": request("image_name_delete", name="x"),
    "an app with an image of a key that is none": opened(
        images=[{**BUILT, "steps": [{"kind": "id", "key": "../../etc"}]}]
    ),
    "an app with an image of an id that is long": opened(
        images=[{**BUILT, "steps": [{"kind": "id", "image_id": "im-" + "0" * 99}]}]
    ),
    "an app with an image of a name that is none": opened(
        images=[{**BUILT, "steps": [{"kind": "name", "name": "a/b", "tag": "1"}]}]
    ),
    "logs from a text on": request("app_logs", app="app", tail="x"),
}  # fmt: skip


@pytest.mark.parametrize("frame", BROKEN.values(), ids=BROKEN)
def test_a_client_that_breaks_the_protocol_ends_alone(world: World, client: Client, frame: bytes):
    world.serve = lambda x: x
    client.open()
    client.submit([1])
    world.turn()
    client.send(frame)
    world.turn()
    if not client.broken:  # half a frame: the rest might come
        assert len(frame) < 6 + int.from_bytes(frame[:4], "little")
        client.close()
    world.turn()
    assert world.hub.sessions == set()


def test_who_is_not_understood_is_told_why(world: World, client: Client):
    client.send(BROKEN["an unknown type"])
    world.turn()
    assert client.broken
    [event] = [event for event in client.events if event["op"] == "closing"]
    assert "a client sent a frame of type" in event["reason"]


def test_frames_behind_a_broken_one_are_not_acted_on(world: World, client: Client):
    client.open(detach=True)
    client.send(BROKEN["an unknown type"] + submit(section=ITEM))
    world.turn()
    assert client.broken
    assert world.hub.calls == {}
    assert world.hub.apps == {}


def outcome(
    container: Container, section: bytes = ITEM, *, flags: int = frames.ALL_OK, **changes: int
) -> bytes:
    batch = container.batches[0]
    fields = {"key": batch.key, "first": batch.first, "count": 1, **changes}
    return frames.hot(
        frames.OUTCOME, flags, fields["key"], fields["first"], fields["count"], 0, section
    )


HOSTILE: dict[str, Callable[[Container], bytes]] = {
    "garbage": lambda _: b"\x05\x00\x00\x00\xff\xffgarbage",
    "a client's frame": lambda _: submit(section=ITEM),
    "an empty outcome": lambda _: pack("<IBB", 0, frames.OUTCOME, 0),
    "half an outcome": lambda _: pack("<IBB", 9, frames.OUTCOME, 0) + b"123456789",
    "an outcome without items": lambda c: outcome(c, b""),
    "an outcome of too many items": lambda c: outcome(c, count=9),
    "an outcome of more inputs than it has": lambda c: outcome(
        c, frames.items_section([(frames.PICKLE, b"x")] * 9), count=9
    ),
    "an outcome of another input": lambda c: outcome(c, first=7),
    "an outcome of an input before": lambda c: outcome(c, first=(1 << 32) - 1),
    "an outcome with bytes behind": lambda c: outcome(c, ITEM + b"x"),
    "an outcome without its file": lambda c: outcome(c, flags=frames.HAS_FD),
    "faults that do not fit": lambda c: outcome(c, b"\xff\xff\xff\xff", flags=0),
    "a reply that is no map": lambda _: frames.control(frames.REPLY, b"\x90"),
    "a second reply to START": lambda _: control(frames.REPLY, id=1),
    "a fault that is a number": lambda _: control(frames.REPLY, id=1, fault=1 << 40),
    "an event without an operation": lambda _: frames.control(frames.EVENT, b"\x80"),
    "a return of nothing": lambda _: event("returned"),
    "a return of infinitely many": lambda c: event(
        "returned", batch=c.batches[0].key, count=INFINITY
    ),
    "a return of too many": lambda c: event("returned", batch=c.batches[0].key, count=1 << 60),
    "a return of less than none": lambda c: event("returned", batch=c.batches[0].key, count=-1),
}


@pytest.mark.parametrize("attack", HOSTILE.values(), ids=HOSTILE)
def test_a_container_that_breaks_the_protocol_is_killed_and_its_input_runs_elsewhere(
    world: World, client: Client, attack: Callable[[Container], bytes]
):
    client.open(function_spec(max_containers=1))
    number = client.call(1)
    [container] = world.containers
    container.leaves = False
    world.serve = lambda x: x
    container.send(attack(container))
    world.turn()
    if not container.exited.done():  # half a frame: the rest might come
        assert container.batches
        container.exit(9)
        world.turn()
    assert container.signals in ([9], [])
    assert client.value(number) == 1
    assert client.deliveries == 1


def test_a_socket_in_place_of_a_file_of_results_ends_its_container(world: World, client: Client):
    client.open(function_spec(max_containers=1))
    number = client.call(1)
    [container] = world.containers
    container.leaves = False
    world.serve = lambda x: x
    ours, theirs = socket.socketpair()
    with ours, theirs:
        container.send(outcome(container, flags=frames.HAS_FD), theirs.fileno())
    world.turn()
    assert container.signals == [9]
    assert client.value(number) == 1


def test_a_container_cannot_have_results_delivered_twice(world: World, client: Client):
    client.open(function_spec(max_containers=1))
    number = client.submit([1, 2])
    world.turn()
    [container] = world.containers
    frame = outcome(container, frames.items_section([(frames.PICKLE, b"\x80\x05N.")]))
    world.serve = lambda x: x
    container.send(frame + frame)
    world.turn()
    assert sorted(client.results[number]) == [0, 1]
    assert client.deliveries == 2


def test_descriptors_that_nobody_asked_for_do_not_pile_up(world: World, client: Client):
    client.open()
    client.call(1)
    for player in (world.containers[0], world.containers[0].user, client):
        for _ in range(10):
            player.send(event("something new"), *[0] * 16)
            world.turn()
        assert player.closed


# -- at random, and the same in every run


def _anything(chance: random.Random, depth: int = 0) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: None,
        lambda: chance.random() < 0.5,
        lambda: chance.choice([0, -1, 1, 255, 1 << 31, 1 << 40, 1 << 63, HUGE, -(1 << 63)]),
        lambda: chance.choice([0.0, -1.5, INFINITY, -INFINITY, math.nan, 1e300]),
        lambda: chance.choice(["", "f", "app", "ap-1", "\0", "/", "..", "x" * 300, "\udc80"]),
        lambda: chance.randbytes(chance.choice([0, 1, 32, 300])),
    ]
    if depth < 3:
        kinds += [
            lambda: [_anything(chance, depth + 1) for _ in range(chance.randrange(4))],
            lambda: {str(n): _anything(chance, depth + 1) for n in range(chance.randrange(4))},
        ]
    return chance.choice(kinds)()


def _twisted(value: Any, chance: random.Random) -> Any:
    """A well-formed message with something else at one place."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: _twisted(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], _twisted(value[at], chance), *value[at + 1 :]]
    return _anything(chance)


def _messages(session: str) -> list[dict[str, Any]]:
    """One of every request, as the SDK and the command send them."""
    call = f"fc-{session}0000000002"
    return [
        {"op": "hello", "protocol": 1, "version": "0", "session": session, "pid": 1},
        {"op": "app_open", "app": description(function_spec(), function_spec("g"))},
        {"op": "app_open", "app": description(files=[["m.py", 420, "0" * 64, 5]], base=1 << 17)},
        {"op": "app_close", "app_id": "app", "reason": "x"},
        {"op": "app_set_tags", "app_id": "app", "tags": {"team": "ml"}},
        {"op": "app_list"},
        {"op": "app_stop", "app": "app"},
        {"op": "app_timings", "app_id": "app"},
        {"op": "app_logs", "app": "app", "tail": 3, "follow": True},
        {"op": "container_list"},
        {"op": "container_stop", "container": "ta-1"},
        {"op": "container_logs", "container": "ta-1", "tail": 3, "follow": True},
        {"op": "call_get", "call": call, "index": 0, "wait": True},
        {"op": "call_inputs", "call": call},
        {"op": "call_cancel", "call": call, "terminate": True},
        {"op": "server_status"},
        {"op": "function_list"},
        {"op": "function_stats", "number": 1 << 16},
        {"op": "function_settings", "function": "app.f"},
        {
            "op": "function_update",
            "number": 1 << 16,
            "min_containers": 1,
            "max_containers": 2,
            "buffer_containers": 1,
            "scaledown_window_s": 0.5,
        },
        {"op": "image_list"},
        {"op": "image_inspect", "image": "im-1"},
        {"op": "image_logs", "image": "im-1", "step": 0, "offset": 0, "wait": True},
        {"op": "image_lookup", "name": "base", "tag": "1"},
        {"op": "image_build", "app_id": "ap-1", "index": 0},
        {"op": "image_publish", "image_id": "im-1", "name": "base", "tag": "1"},
        {"op": "image_names", "prefix": ""},
        {"op": "image_name_delete", "name": "base", "tag": "1"},
    ]


def _random_frame(chance: random.Random, session: str) -> bytes:
    kind = chance.choice([frames.REQUEST, frames.EVENT, frames.SUBMIT, frames.OUTCOME, 0, 255])
    style = chance.random()
    if kind == frames.REQUEST and style < 0.8:
        message = {"id": chance.randrange(1 << 20), **chance.choice(_messages(session))}
        return control(kind, **_as_map(_twisted(message, chance)))
    if kind == frames.EVENT and style < 0.8:
        op = chance.choice(["cancel", "credit", "poke", "upload", "x"])
        fields = {"op": op, "call": 2, "count": 1, "offset": 0, "size": 5, "data": b"12345",
                  "sha256": "0" * 64}  # fmt: skip
        return control(kind, **_as_map(_twisted(fields, chance)))
    if kind == frames.SUBMIT and style < 0.8:
        numbers = [0, 1, 2, 3, 77, 1 << 39, 1 << 40, HUGE]
        items = [(chance.randrange(16), chance.randbytes(3)) for _ in range(chance.randrange(5))]
        section = frames.items_section(items)
        if style < 0.1:
            section = section[: chance.randrange(len(section) + 1)]
        return frames.hot(
            kind, chance.randrange(256) & ~frames.HAS_FD, chance.choice(numbers),
            chance.choice([0, 1, 2, 1 << 31, (1 << 32) - 1]), len(items),
            chance.choice([1 << 16, (1 << 16) + 1, 0]), section,
        )  # fmt: skip
    body = chance.randbytes(chance.choice([0, 1, 5, 18, 19, 40]))
    return pack("<IBB", len(body), kind, chance.randrange(256)) + body


def _as_map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"op": value, "id": 1}


@pytest.mark.parametrize("seed", range(6))
def test_random_frames_of_a_client(small_world: World, seed: int):
    world, chance = small_world, random.Random(seed)
    other = world.client()
    other.open()
    for _ in range(60):
        client = world.client(hello=chance.random() < 0.9)
        if chance.random() < 0.8:
            client.open(detach=chance.random() < 0.2)
        for _ in range(chance.randrange(1, 12)):
            client.send(_random_frame(chance, client.session or "0" * 16))
            if chance.random() < 0.3:
                world.turn()
        world.turn()
        client.close()
        world.hub.scheduler.check_invariants()
        assert not world.escaped, world.escaped
    assert other.value(other.call(5)) is None


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_of_anybody(small_world: World, seed: int):
    world, chance = small_world, random.Random(seed)
    other = world.client()
    other.open(function_spec(max_containers=2))
    for _ in range(40):
        client = world.client(hello=False)
        number = other.submit([1, 2, 3])
        world.serve = None
        world.turn()
        world.serve = lambda x: x
        for player in (client, *world.live(), *(container.user for container in world.live())):
            player.send(chance.randbytes(chance.randrange(1, 200)))
        world.turn()
        for container in world.live():
            container.exit(9)  # it may wait for the rest of a frame
        world.turn()
        client.close()
        world.until(lambda n=number: len(other.results.get(n, ())) == 3)
        assert not world.escaped, world.escaped
