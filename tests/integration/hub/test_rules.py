"""Who may do what: clients of the machine's user, and user code in a container."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.integration.hub.players import IMAGE, description, function_spec
from volant import errors
from volant.wire import frames
from volantd.hub import requests

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

SESSION = "0123456789abcdef"


def user_code(world: World, client: Client, **given: object) -> Client:
    """The connection that user code has in a container of an app of this client."""
    client.open(function_spec(**given))
    client.call(1)
    container = world.containers[-1]
    container.user.hello()
    return container.user


# -- hello


def test_a_client_may_go_on_under_its_own_session(world: World):
    client = world.client(hello=False)
    assert client.hello(SESSION)["session"] == SESSION
    second = world.client(hello=False)
    assert second.hello(SESSION)["session"] != SESSION, "it is taken"
    client.close()
    world.turn()
    assert world.client(hello=False).hello(SESSION)["session"] == SESSION


@pytest.mark.parametrize("session", ["", "short", "x" * 15 + "!", "A" * 16, "../../../../../x"])
def test_a_session_that_is_none_is_refused(world: World, session: str):
    client = world.client(hello=False)
    with pytest.raises(errors.InvalidError, match="not the id of a session"):
        client.request("hello", protocol=1, version="x", session=session, pid=1)


def test_hello_tells_who_the_daemon_is(world: World):
    reply = world.client(hello=False).hello()
    assert reply["pid"] == os.getpid()
    assert reply.keys() >= {"id", "version", "pid", "session"}


# -- containers


def test_a_container_cannot_choose_its_session(world: World, client: Client):
    user = user_code(world, client)
    for wanted in (SESSION, client.session):
        assert user.hello(wanted)["session"] not in {SESSION, client.session}


@pytest.mark.parametrize("op", sorted(set(requests.HANDLERS) - set(requests.CONTAINER_HANDLERS)))
def test_a_container_cannot_use_what_is_for_the_machines_user(
    world: World, client: Client, op: str
):
    user = user_code(world, client)
    with pytest.raises(errors.InvalidError, match=f"no request '{op}'"):
        user.request(op, app="app", container=world.containers[0].container_id, reason="x")
    assert not world.services.stopping.is_set()


def test_a_container_may_call_the_functions_of_its_own_app(world: World, client: Client):
    client.open(function_spec("f"), function_spec("g"))
    client.call(1)
    world.serve = lambda x: x * 2
    user = world.containers[0].user
    user.hello()
    assert user.value(user.call(21, function=1)) == 42
    call_id = user.spawn(4, function=0)
    assert user.value(user.get(call_id)) == 8


def test_a_container_cannot_call_functions_of_other_apps(world: World, client: Client):
    other = world.client()
    other.open()
    user = user_code(world, client)
    for number in (1 << 16, 1, 77):
        with pytest.raises(errors.ExecutionError):
            user.reply(user.call(1, function=number))


def test_a_container_cannot_see_calls_of_other_apps(world: World, client: Client):
    other = world.client()
    other.open()
    foreign = other.spawn(1)
    user = user_code(world, client)
    for op in ("call_get", "call_inputs", "call_cancel"):
        with pytest.raises(errors.PermissionDeniedError, match="another app"):
            user.request(op, call=foreign, index=0, wait=False, terminate=True)
    world.live()[0].answer(world.live()[0].batches[0], lambda x: x)
    world.turn()
    assert other.value(other.get(foreign)) == 1


def test_tags_are_listed_and_may_be_replaced(world: World, client: Client):
    app_id = client.open(tags={"team": "ml", "stage": "dev"})
    other = client.open(base=1 << 17)

    def listed() -> dict[str, object]:
        return {row["app_id"]: row["tags"] for row in client.request("app_list")["apps"]}

    assert listed() == {app_id: {"team": "ml", "stage": "dev"}, other: {}}
    for _ in range(2):  # a client that was cut off asks again
        client.request("app_set_tags", app_id=app_id, tags={"team": "web"})
    assert listed() == {app_id: {"team": "web"}, other: {}}


def test_nobody_sets_the_tags_of_anothers_app(world: World, client: Client):
    app_id = client.open(tags={"team": "ml"})
    user = user_code(world, client)
    for stranger in (world.client(), user):
        for wanted in (app_id, "ap-none"):
            with pytest.raises(errors.NotFoundError, match="runs no app"):
                stranger.request("app_set_tags", app_id=wanted, tags={})
    assert world.hub.apps[app_id].tags == {"team": "ml"}


def test_a_container_cannot_stop_other_apps(world: World, client: Client):
    other = world.client()
    app_id = other.open()
    user = user_code(world, client)
    for target in (app_id, next(iter(world.hub.apps))):
        assert user.request("app_close", app_id=target, reason="mine now") == {"id": user.number}
    assert len(world.hub.apps) == 2


def test_a_container_may_run_an_app_of_its_own_and_sees_no_more_of_the_machine(
    world: World, client: Client
):
    user = user_code(world, client)
    wanted = {**IMAGE, "python": "/bin/sh", "trees": ["/etc"], "prefix": "/etc"}
    app_id = user.open(function_spec("inner"), images=[wanted])
    assert world.hub.apps[app_id].functions["inner"].version.image == IMAGE
    call_id = user.spawn(3)
    inner = world.containers[-1]
    inner.answer(inner.batches[0], lambda x: x + 1)
    world.turn()
    assert user.value(user.get(call_id)) == 4, "the call belongs to an app that it runs"
    user.request("app_close", app_id=app_id, reason="finished")
    assert app_id not in world.hub.apps


def test_what_a_container_started_ends_with_it(world: World, client: Client):
    user = user_code(world, client)
    app_id = user.open(function_spec("inner"))
    world.containers[0].exit(9)
    world.turn()
    assert app_id not in world.hub.apps


# -- images


@pytest.mark.parametrize("tree", ["/", "/etc", "/root", "/home", "/opt/../etc", "/var"])
def test_an_image_that_shows_private_directories_is_refused_before_anything_starts(
    world: World, client: Client, tree: str
):
    with pytest.raises(errors.InvalidError, match="private files"):
        client.open(function_spec(min_containers=1), images=[{**IMAGE, "trees": [tree]}])
    with pytest.raises(errors.ExecutionError):
        client.reply(client.call(1))
    assert world.hub.apps == {}
    assert world.containers == []


def test_the_daemons_own_directory_is_not_shown(world: World, client: Client):
    for tree in (world.home, world.home.parent):
        with pytest.raises(errors.InvalidError, match="private files"):
            client.open(images=[{**IMAGE, "trees": [str(tree)]}])


# -- requests of the machine's user


def test_an_unknown_request_is_refused_by_its_name(client: Client):
    with pytest.raises(errors.InvalidError, match="no request 'make_coffee'"):
        client.request("make_coffee")


def test_apps_are_listed_and_stopped_by_id_or_name(world: World, client: Client):
    first = client.open(name="first")
    second = client.open(base=1 << 17, name="second")
    rows = client.request("app_list")["apps"]
    assert [(row["app_id"], row["name"], row["state"]) for row in rows] == [
        (first, "first", "ephemeral"),
        (second, "second", "ephemeral"),
    ]
    client.request("app_stop", app="first")
    client.request("app_stop", app=second)
    assert [(row["app_id"], row["state"]) for row in client.request("app_list")["apps"]] == [
        (first, "stopped"), (second, "stopped"),
    ]  # fmt: skip
    assert world.hub.apps == {}


def test_names_that_are_not_clear_are_said_to_be_so(client: Client):
    client.open(name="twin")
    client.open(base=1 << 17, name="twin")
    with pytest.raises(errors.InvalidError, match="2 apps are called 'twin'"):
        client.request("app_stop", app="twin")
    with pytest.raises(errors.NotFoundError) as refused:
        client.request("app_stop", app="twim")
    assert refused.value.hint == "did you mean twin, twin?"
    with pytest.raises(errors.NotFoundError) as refused:
        client.request("app_stop", app="z" * 100_000)
    assert refused.value.hint == "`volant app list` shows all"
    assert len(refused.value.message) < 300


def test_an_app_that_has_ended_is_known_by_its_log(world: World, client: Client):
    world.serve = lambda x: x
    app_id = client.open(name="talker")
    client.call(1)
    world.containers[0].print(b"hello\n")
    world.turn()
    client.request("app_close", app_id=app_id, reason="finished")
    [row] = client.request("app_list")["apps"]
    assert (row["app_id"], row["name"], row["state"]) == (app_id, "talker", "stopped")
    for wanted in (app_id, "talker"):
        reply = client.request("app_logs", app=wanted, tail=3, follow=False)
        assert [entry["data"] for entry in reply["entries"]] == [b"hello\n"]
    with pytest.raises(errors.NotFoundError):
        client.request("app_logs", app="nobody")
    with pytest.raises(errors.NotFoundError):
        client.request("container_logs", container="ta-nobody")


def test_logs_can_be_followed_by_others(world: World, client: Client):
    app_id = client.open()
    client.call(1)
    [container] = world.containers
    watcher, gone = world.client(), world.client()
    gone.request("app_logs", app=app_id, follow=True)
    gone.close()
    watcher.request("app_logs", app=app_id, follow=True)
    watcher.request("container_logs", container=container.start["container_id"], follow=True)
    container.print(b"hello\n")
    world.turn()
    assert [event["data"] for event in watcher.events] == [b"hello\n"] * 2
    assert client.events == []


def test_logs_are_kept_of_many_apps_with_few_open_files(world: World, client: Client):
    apps = []
    for number in range(40):
        app_id = client.open()
        world.serve = lambda x: x
        client.call(1)
        world.live()[0].print(b"app %d\n" % number)
        world.turn()
        client.request("app_close", app_id=app_id, reason="finished")
        apps.append(app_id)
    assert len(world.services.logs._files) <= 32
    for number, app_id in enumerate(apps):
        entries = client.request("app_logs", app=app_id)["entries"]
        assert [entry["data"] for entry in entries] == [b"app %d\n" % number]


def test_a_log_is_cut_to_its_newer_half(world: World, client: Client):
    world.services.logs._bytes_max = 20_000
    app_id = client.open()
    client.call(1)
    [container] = world.containers
    for number in range(200):
        container.print(b"line %d\n" % number)
        world.turn()
    entries = client.request("app_logs", app=app_id)["entries"]
    assert entries[-1]["data"] == b"line 199\n"
    assert 20 < len(entries) < 150
    path = world.home / "logs" / f"{app_id}.jsonl"
    assert path.stat().st_size < 25_000
    assert json.loads(path.read_text().splitlines()[0])["name"] == "app"


def test_the_status_says_what_the_daemon_is_and_does(world: World, client: Client):
    client.open(function_spec(min_containers=1))
    status = client.request("server_status")
    assert (status["apps"], status["containers"], status["rung"]) == (1, 1, "container")
    assert status["home"] == str(world.home)


def test_the_daemon_can_be_asked_to_stop(world: World, client: Client):
    assert client.request("server_stop")["pid"] == os.getpid()
    assert world.services.stopping.is_set()
    assert world.services.stop_reason == "stopped by request"


def test_containers_that_are_plain_processes_are_announced(world: World, client: Client):
    world.services.rung = "process"
    world.services.reasons = ["no user namespaces"]
    client.open()
    assert [event["text"] for event in client.events if event["op"] == "notice"] == [
        "no user namespaces; functions run as plain processes (rung `process`), "
        "which are not containers"
    ]


def test_an_app_of_too_many_functions_is_refused(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(requests, "FUNCTIONS_MAX", 2)
    specs = [function_spec(f"f{index}") for index in range(3)]
    with pytest.raises(errors.InvalidError, match="3 functions in one app, at most 2"):
        client.request("app_open", app=description(*specs))


def test_a_generator_cannot_be_spawned(world: World, client: Client):
    client.open(function_spec("g", generates=True))
    client.call(1, flags=frames.RETAIN | frames.STREAM)
    assert client.broken
