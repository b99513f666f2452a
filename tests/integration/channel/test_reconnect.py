"""A hub that goes away and comes back: what was asked is asked again, and nobody waits for ever."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.channel.fake_hub import section_of, submit_frame
from tests.integration.channel.test_channel import Call
from volant import errors
from volant.channel import channel as channels
from volant.channel.opening import open_channel
from volant.channel.waiters import OutcomeWaiter, SpawnWaiter, StreamWaiter
from volant.wire import frames, values
from volant.wire.faults import platform_fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.channel.fake_hub import FakeHub
    from volant.channel.channel import Channel


def test_what_was_not_answered_is_sent_again(channel: Channel, hub: FakeHub):
    hub.hold = True
    session = channel.session
    calls = [Call(channel, b"%d" % index).start() for index in range(5)]
    hub.wait_held(5)
    hub.answer(calls[0].number)
    calls[0].join()
    hub.cut()
    hub.wait_held(4)
    assert sorted(number for _, number, _ in hub.held) == [call.number for call in calls[1:]]
    for call in calls[1:]:
        hub.answer(call.number)
        call.join()
    assert channel.session == session
    assert [hello["session"] for hello in hub.wait_heard("hello", 2)] == [session] * 2


def test_a_request_is_asked_again(channel: Channel, hub: FakeHub):
    hub.hold = True
    replies: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: replies.append(channel.request("app_list")))
    asking.start()
    hub.wait_held(1)
    hub.cut()
    hub.wait_held(1)
    hub.answer()
    asking.join()
    assert replies[0]["op"] == "app_list"


def test_apps_are_opened_again_before_their_calls_are_sent(channel: Channel, hub: FakeHub):
    hub.hold = True
    channel.on_reconnect.append(lambda: channel.tell("opened again"))
    call = Call(channel, b"x").start()
    hub.wait_held(1)
    hub.cut()
    hub.wait_held(1)
    assert [what for what, _ in hub.heard] == ["hello", "submit", "hello", "opened again", "submit"]
    hub.answer()
    call.join()


def test_a_request_during_the_reconnect_is_answered_there(channel: Channel, hub: FakeHub):
    replies: list[dict[str, Any]] = []
    channel.on_reconnect.append(lambda: replies.append(channel.direct_request("app_open")))
    hub.cut()
    assert channel.request("app_list")["op"] == "app_list"
    assert [reply["op"] for reply in replies] == ["app_open"]


def test_a_call_that_is_made_meanwhile_is_sent_once_and_in_its_place(
    channel: Channel, hub: FakeHub
):
    """Another thread must not get between the new connection and the apps on it."""
    hub.hold = True
    other: list[Call] = []

    def open_again() -> None:
        other.append(Call(channel, b"other").start())
        while not other[0].waiter.frame or other[0].number not in channel._waiters:
            pass
        channel.tell("opened again")

    channel.on_reconnect.append(open_again)
    call = Call(channel, b"x").start()
    hub.wait_held(1)
    hub.cut()
    hub.wait_held(2)
    what = [what for what, _ in hub.heard]
    assert what == ["hello", "submit", "hello", "opened again", "submit", "submit"]
    for waiting in (call, *other):
        hub.answer(waiting.number)
        waiting.join()
    assert not hub.held


def test_it_is_tried_again_when_the_new_connection_breaks_as_well(channel: Channel, hub: FakeHub):
    attempts: list[int] = []

    def break_twice() -> None:
        attempts.append(1)
        if len(attempts) < channels.RECONNECT_ATTEMPTS_MAX:
            raise OSError("the daemon died once more")

    channel.on_reconnect.append(break_twice)
    hub.cut()
    assert Call(channel, b"x").start().join() == b"x"
    assert len(attempts) == channels.RECONNECT_ATTEMPTS_MAX


def test_what_ends_every_connection_is_not_sent_for_ever(
    channel: Channel, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(channels, "LOSS_PAUSE_S", 0.0)
    channel.on_reconnect.append(lambda: channel._stream.sock.shutdown(socket.SHUT_RDWR))
    hub.hold = True
    call = Call(channel, b"x").start()
    hub.wait_held(1)
    hub.cut()
    with pytest.raises(errors.ConnectionError):
        call.join()
    hellos = [what for what, _ in hub.heard].count("hello")
    assert hellos == 1 + channels.LOSSES_IN_A_ROW_MAX


def test_a_hub_that_says_why_it_closes_is_believed(channel: Channel, hub: FakeHub):
    """Also while the apps are opened again."""

    def open_again() -> None:
        hub.connections[-1].event("closing", reason="it makes no sense")
        hub.connections[-1].cut()
        channel._read_reply(99)  # as if the request had reached it

    channel.on_reconnect.append(open_again)
    hub.hold = True
    call = Call(channel, b"x").start()
    hub.wait_held(1)
    hub.cut()
    with pytest.raises(errors.ConnectionError, match="it makes no sense"):
        call.join()
    assert [what for what, _ in hub.heard].count("hello") == 2


def test_everybody_hears_when_the_hub_cannot_be_found_again(
    channel: Channel, hub: FakeHub, home: Path
):
    hub.hold = True
    calls = [Call(channel, b"%d" % index).start() for index in range(3)]
    hub.wait_held(3)
    (home / "daemon.sock").unlink()
    hub.vanish()
    for call in calls:
        with pytest.raises(errors.ConnectionError, match="cannot use"):
            call.join()
    assert channel.closed
    with pytest.raises(errors.ConnectionError):
        channel.request("x")


def test_what_is_told_to_a_hub_that_is_gone_is_lost_and_no_error(channel: Channel, hub: FakeHub):
    channel.request("x")
    hub.cut()
    for _ in range(20):
        channel.tell("cancel", call=7)
    assert channel.request("y")["op"] == "y"


# -- what each kind of waiter does


def stream_items(*items: tuple[int, bytes]) -> bytes:
    return frames.items_section(items)


def test_a_stream_cannot_be_taken_up_where_it_stopped(channel: Channel):
    waiter = StreamWaiter(channel, 1, submit_frame(1, b"x"))
    waiter.on_result(0, (1, 0, 1, 0), stream_items((frames.YIELD, b"\x80\x05K\x07.")), None)
    assert waiter.take(None) == (True, 7)
    waiter.resubmit()
    with pytest.raises(errors.ConnectionError, match="in the middle of a generator"):
        channel.wait(waiter)


def test_a_stream_gives_its_values_then_its_exception(channel: Channel):
    waiter = StreamWaiter(channel, 1, b"")
    fault = platform_fault("NotFoundError", "gone")
    section = stream_items((frames.YIELD, b"\x80\x05K\x01."), (frames.FAULT, fault))
    waiter.on_result(0, (1, 0, 2, 0), section, None)
    channel.wait(waiter)
    assert waiter.take(None) == (True, 1)
    channel.wait(waiter)
    with pytest.raises(errors.NotFoundError):
        waiter.take(None)
    assert waiter.finished


def test_a_stream_tells_how_much_of_it_was_taken(channel: Channel, hub: FakeHub):
    from volant.channel import waiters

    waiter = StreamWaiter(channel, 9, b"")
    for _ in range(waiters.CREDIT_EVERY):
        waiter.on_result(0, (9, 0, 1, 0), stream_items((frames.YIELD, b"\x80\x05N.")), None)
        waiter.take(None)
    assert hub.wait_heard("credit") == [{"op": "credit", "call": 9, "count": 256}]
    waiter.on_result(0, (9, 0, 1, 0), stream_items((frames.EXHAUSTED, b"")), None)
    assert waiter.take(None) == (False, None)


REFUSALS: dict[str, Callable[[Channel], Any]] = {
    "call": lambda channel: Call(channel, b"x").waiter,
    "spawn": lambda channel: SpawnWaiter(b"", None),
    "outcome": lambda channel: OutcomeWaiter(b""),
    "stream": lambda channel: StreamWaiter(channel, 1, b""),
}


@pytest.mark.parametrize("make", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_ends_every_kind_of_wait(channel: Channel, make: Callable[[Channel], Any]):
    waiter = make(channel)
    waiter.on_reply({"id": 1, "fault": platform_fault("ExecutionError", "does not run")})
    with pytest.raises(errors.ExecutionError):
        channel.wait(waiter)


def test_a_spawn_is_over_when_it_is_accepted(channel: Channel):
    waiter = SpawnWaiter(b"", None)
    waiter.on_reply({"id": 1})
    channel.wait(waiter)


def test_an_outcome_may_be_pending_for_now(channel: Channel):
    waiter = OutcomeWaiter(b"")
    waiter.on_reply({"id": 1, "state": "something new"})
    assert not waiter.ready
    waiter.on_reply({"id": 1, "state": "pending"})
    channel.wait(waiter)
    assert waiter.pending


def test_a_result_that_cannot_be_opened_here_says_so(channel: Channel):
    call = Call(channel, b"this is no pickle").start()
    call.join()
    ok, error = call.waiter.outcome(None)
    assert not ok
    assert isinstance(error, errors.DeserializationError)


# -- versions


def test_a_daemon_of_another_version_is_replaced(hub: FakeHub, home: Path):
    hub.version = "0.0.1"

    def replace() -> None:
        [stop] = hub.wait_heard("server_stop")
        assert "replaced by version" in str(stop["reason"])
        hub.version = channels.VERSION
        hub.listen()  # before the old one is gone: nobody shall find the place empty
        hub.cut()

    daemon = threading.Thread(target=replace)
    daemon.start()
    channel = open_channel(str(home))
    assert channel.hub["version"] == channels.VERSION
    assert channel.request("x")["op"] == "x"
    channel.close()
    daemon.join()


def test_a_daemon_of_another_version_that_came_meanwhile_is_not_replaced_in_the_middle(
    channel: Channel, hub: FakeHub
):
    """The calls that wait end with what is wrong; the next command replaces it."""
    hub.hold = True
    call = Call(channel, b"x").start()
    hub.wait_held(1)
    hub.version = "9.9.9"
    hub.cut()
    with pytest.raises(errors.VersionError, match=r"daemon is version 9\.9\.9"):
        call.join()


def test_a_hub_that_greets_with_an_error_is_believed(hub: FakeHub, home: Path):
    original = hub._on_frame

    def refuse(connection: Any, kind: int, body: bytes) -> None:
        if values.decode_map(body).get("op") == "hello":
            connection.reply(0, fault=platform_fault("PermissionDeniedError", "not you"))
        else:
            original(connection, kind, body)

    hub._on_frame = refuse  # type: ignore[method-assign]  # another hub than usual
    with pytest.raises(errors.PermissionDeniedError, match="not you"):
        open_channel(str(home))


def test_a_hub_that_hangs_up_is_an_error(hub: FakeHub, home: Path):
    def hang_up(connection: Any, kind: int, body: bytes) -> None:
        connection.cut()

    hub._on_frame = hang_up  # type: ignore[method-assign]  # another hub than usual
    with pytest.raises(errors.ConnectionError, match=r"closed the connection|broke off"):
        open_channel(str(home))


def test_section_helpers_agree():
    assert frames.split_items(section_of(b"x"), 1) == [(frames.PICKLE, b"x")]
