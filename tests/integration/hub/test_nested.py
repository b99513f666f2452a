"""User code in a container as a client: what it may open, and what it may make the hub keep."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import description, function_spec
from volant import errors
from volant.wire import frames, values
from volantd.hub import checks, records, session

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, Container, World


def inside(world: World, client: Client, **options: Any) -> Container:
    """A container that runs a function with these options."""
    client.open(function_spec("outer", **options))
    client.call(1)
    return world.containers[-1]


def opened(world: World, container: Container, *specs: dict[str, Any], **fields: Any) -> list[Any]:
    """The functions of an app that the container's user code has opened."""
    app_id = container.user.open(*specs, **fields)
    return list(world.hub.apps[app_id].functions.values())


def test_a_nested_app_keeps_to_the_limits_of_its_container(world: World, client: Client):
    container = inside(world, client, block_network=True, memory=(64, 128), cpu=(0.5, 1.0))
    free, tighter, wider = opened(
        world, container, function_spec("free"),
        function_spec("tighter", memory=(16, 32), cpu=(0.1, 0.2)),
        function_spec("wider", memory=(512, 1024), cpu=(2.0, 4.0)),
    )  # fmt: skip
    for function, memory, cpu in ((free, 128, 1.0), (tighter, 32, 0.2), (wider, 128, 1.0)):
        assert function.options["block_network"]
        assert function.version.block_network
        assert function.options["memory_limit_mib"] == memory
        assert function.options["memory_mib"] <= memory
        assert function.options["cpu_limit"] == cpu


def test_a_container_without_limits_gives_none(world: World, client: Client):
    container = inside(world, client)
    [inner] = opened(world, container, function_spec("inner", memory=(16, 32)))
    assert not inner.options["block_network"]
    assert inner.options["memory_limit_mib"] == 32
    assert inner.options["cpu_limit"] is None


def test_a_nested_app_cannot_outlive_its_container(world: World, client: Client):
    container = inside(world, client)
    with pytest.raises(errors.PermissionDeniedError, match="detached"):
        container.user.open(detach=True)


@pytest.mark.parametrize("kind", ["min_containers", "buffer_containers"])
def test_a_nested_app_keeps_few_containers_ready(world: World, client: Client, kind: str):
    container = inside(world, client)
    specs = [function_spec(f"f{index}", **{kind: 9}) for index in range(2)]
    with pytest.raises(errors.ResourceExhaustedError, match=f"18 .*{checks.NESTED_KEPT_MAX}"):
        container.user.open(*specs)


def test_a_container_opens_few_apps_at_a_time(world: World, client: Client):
    container = inside(world, client)
    apps = [container.user.open() for _ in range(checks.NESTED_APPS_MAX)]
    with pytest.raises(errors.ResourceExhaustedError, match="16 apps"):
        container.user.open()
    container.user.request("app_close", app_id=apps[0], reason="done")
    container.user.open()


def test_a_container_announces_few_sources_at_a_time(world: World, client: Client):
    container = inside(world, client)
    size = checks.NESTED_UPLOAD_BYTES_MAX // 2 + 1
    files = [["m.py", 0o644, "0" * 64, size]]
    container.user.open(files=files)
    with pytest.raises(errors.ResourceExhaustedError, match="sources"):
        container.user.open(files=[["n.py", 0o644, "1" * 64, size]])


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "", "x" * 501])
def test_names_that_cannot_be_shown_are_not_taken(world: World, name: str):
    for changed in (description(name=name), description(function_spec(name))):
        stranger = world.client()
        stranger.ask("app_open", app=changed)
        world.turn()
        assert stranger.broken


def test_who_hands_in_more_than_is_done_is_not_read_from(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    """And is again, once enough of it has been done."""
    monkeypatch.setattr(records, "HELD_BYTES_MAX", 40_000)
    container = inside(world, client, max_containers=1)
    user, [outer] = container.user, container.batches
    for _ in range(10):
        user.call("x" * 10_000, function=0)
    question = user.ask("call_get", call="fc-none", index=0, wait=False)
    world.turn()
    assert question not in user.replies, "its requests wait as well"
    container.answer(outer, lambda _: None)
    world.until(lambda: container.batches)
    while container.batches:
        container.answer(container.batches[0], lambda _: None)
        world.turn()
    assert len(user.results) == 10
    with pytest.raises(errors.NotFoundError):
        user.reply(question)


def test_memory_files_of_inputs_that_wait_are_counted_too(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(records, "HELD_FDS_MAX", 3)
    container = inside(world, client, max_containers=1)
    before = len(os.listdir("/proc/self/fd"))
    null = os.open(os.devnull, os.O_RDONLY)
    flags = frames.OPEN | frames.LAST | frames.HAS_FD
    section = frames.items_section([(frames.MAPPED, b"x")])
    for number in range(100, 130):
        container.user.send(frames.hot(frames.SUBMIT, flags, number, 0, 1, 0, section), null)
        world.turn()
    os.close(null)
    assert len(os.listdir("/proc/self/fd")) <= before + 3 + 2, "a read may bring some more"


def test_a_client_of_the_users_own_is_always_read_from(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    """Its end has to be noticed, whatever it has sent before."""
    monkeypatch.setattr(records, "HELD_BYTES_MAX", 0)
    client.open(function_spec(max_containers=1))
    client.call("x")
    client.close()
    world.until(lambda: not world.hub.apps)


def test_small_questions_for_large_results_are_answered_as_they_are_read(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(session, "ANSWERS_BYTES_MAX", 1 << 20)
    world.serve = lambda _: "x" * 1_000_000
    client.open()
    call_id = client.spawn(1)
    asking = world.client()
    numbers = [asking.ask("call_get", call=call_id, index=0, wait=True) for _ in range(40)]
    most = 0
    while numbers[-1] not in asking.results:
        world.turn()
        queued = [peer.peer.queued_bytes for peer in world.hub.sessions]
        most = max(most, *queued)
    assert all(len(asking.value(number)) == 1_000_000 for number in numbers)
    assert most < 4 << 20


def test_an_end_before_the_last_outcome_breaks_the_protocol(world: World, client: Client):
    """Else its call would wait for its time to be over."""
    client.open()
    number = client.call(1)
    [container] = world.containers
    batch = container.batches[0]
    end = frames.hot(frames.OUTCOME, frames.END | frames.ALL_OK, batch.key, 0, 0, 0, b"")
    world.serve = lambda x: x
    container.send(end)
    world.until(lambda: number in client.results)
    assert container.exited.done()
    assert client.value(number) == 1


def test_a_control_frame_of_user_code_is_checked_like_any_other(world: World, client: Client):
    container = inside(world, client)
    event = values.encode({"op": "key", "key": b"whatever"})
    container.user.send(frames.control(frames.EVENT, event))
    world.turn()
    assert not container.user.broken
