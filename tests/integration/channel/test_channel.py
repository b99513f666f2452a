"""One connection, many threads: who reads, who sleeps, and what becomes of them at its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.integration.channel.fake_hub import WITHIN_S, section_of, submit_frame
from tests.support import ROOT
from volant import errors
from volant.channel.channel import Channel
from volant.channel.waiters import CallWaiter
from volant.wire import frames, values
from volant.wire.faults import platform_fault

if TYPE_CHECKING:
    from tests.integration.channel.fake_hub import FakeHub


class Call:
    """A call in a thread of its own."""

    def __init__(self, channel: Channel, value: bytes, timeout_s: float | None = None) -> None:
        self.channel = channel
        self.value = value
        self.timeout_s = timeout_s
        self.number = channel.next_number()
        self.waiter = CallWaiter(submit_frame(self.number, value), None)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self) -> Call:
        self.thread.start()
        return self

    def run(self) -> None:
        self.channel.register(self.number, self.waiter)
        try:
            self.channel.send(self.waiter.frame)
            self.channel.wait(self.waiter, self.timeout_s)
        except BaseException as error:  # noqa: BLE001  # looked at by the test
            self.error = error
        finally:
            self.channel.unregister(self.number)

    def join(self) -> bytes:
        """The answer; raises what was raised instead."""
        self.thread.join(WITHIN_S)
        assert not self.thread.is_alive(), "it waits for ever"
        if self.error is not None:
            raise self.error
        assert self.waiter.section == section_of(self.value)
        return self.value


def test_a_request_is_answered_with_its_reply(channel: Channel):
    reply = channel.request("app_list", tail=3)
    assert (reply["op"], reply["tail"], reply["echo"]) == ("app_list", 3, True)
    assert channel.waiting_count == 0


def test_a_reply_may_be_an_error(channel: Channel, hub: FakeHub):
    hub.hold = True

    def refuse() -> None:
        hub.wait_held(1)
        [(connection, number, _)] = hub.held
        connection.reply(number, fault=platform_fault("NotFoundError", "gone", "look"))

    refusing = threading.Thread(target=refuse)
    refusing.start()
    with pytest.raises(errors.NotFoundError, match="gone"):
        channel.request("app_stop", app="x")
    refusing.join()
    hub.held.clear()


def test_numbers_are_never_given_out_twice(channel: Channel):
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: channel.next_number(), range(2000)))
    assert len(set(numbers)) == 2000
    tokens = channel.lane_tokens
    assert tokens.next_functions(3) + 3 == tokens.next_functions(1)


def test_each_of_many_threads_gets_its_own_answers(channel: Channel):
    def calls(thread: int) -> None:
        for index in range(100):
            Call(channel, b"%d of %d" % (index, thread)).run()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(calls, range(8)))
    assert channel.waiting_count == 0


def test_answers_may_come_in_any_order(channel: Channel, hub: FakeHub):
    hub.hold = True
    calls = [Call(channel, b"%d" % index).start() for index in range(10)]
    hub.wait_held(10)
    for call in reversed(calls):
        hub.answer(call.number)
    for call in calls:
        call.join()


def test_the_next_thread_reads_when_the_first_has_its_answer(channel: Channel, hub: FakeHub):
    """Whatever the order in which they are answered, nobody is forgotten."""
    hub.hold = True
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)):
        calls = []
        for index in range(3):
            calls.append(Call(channel, b"%d" % index).start())
            hub.wait_held(index + 1)
        for position in order:
            hub.answer(calls[position].number)
            calls[position].join()


def test_a_thread_that_becomes_leader_while_it_joins_the_followers_wakes_another(
    channel: Channel, hub: FakeHub
):
    """It was listed as follower already: giving up and waking itself, it let the others sleep."""
    hub.hold = True

    class JustReleased:
        """A lock that somebody holds at the first look, and nobody at the second."""

        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.refused: set[int] = set()

        def acquire(self, blocking: bool) -> bool:
            thread = threading.get_ident()
            if thread == first.thread.ident and thread not in self.refused:
                self.refused.add(thread)
                return False
            return self.lock.acquire(blocking)

        def release(self) -> None:
            self.lock.release()

    first = Call(channel, b"first", 0.2)
    channel._leader = JustReleased()  # type: ignore[assignment]  # a lock with bad timing
    first.start()
    hub.wait_held(1)
    second = Call(channel, b"second").start()
    hub.wait_held(2)
    while second.waiter not in channel._followers:
        pass
    with pytest.raises(errors.TimeoutError):
        first.join()
    hub.answer(second.number)
    second.join()


def test_a_wait_ends_in_time_for_leaders_and_followers(channel: Channel, hub: FakeHub):
    hub.hold = True
    calls = [Call(channel, b"x", timeout_s).start() for timeout_s in (0.01, 0.02, 0.0, 0.05)]
    for call in calls:
        with pytest.raises(errors.TimeoutError, match="within the given time"):
            call.join()
    assert channel.waiting_count == 0


def test_threads_that_give_up_leave_the_reading_to_others(channel: Channel, hub: FakeHub):
    """Followers that time out just when they are to lead must pass that on."""
    hub.hold = True
    patient = []
    for _ in range(30):
        hasty = [Call(channel, b"x", timeout_s).start() for timeout_s in (0.002, 0.003, 0.003)]
        patient.append(Call(channel, b"patient").start())
        for call in hasty:
            with pytest.raises(errors.TimeoutError):
                call.join()
    for call in patient:
        hub.answer(call.number)
        call.join()


def test_what_comes_for_nobody_is_dropped_with_its_file(channel: Channel, hub: FakeHub):
    channel.request("warm up")
    [connection] = hub.connections
    with open(os.devnull) as null:
        frame = frames.hot(frames.RESULT, frames.HAS_FD, 999, 0, 1, 0, section_of(b"x"))
        connection.send(frame, null.fileno())
    connection.reply(998)
    hub.hold = True
    call = Call(channel, b"y").start()
    hub.wait_held(1)
    with open(os.devnull) as null:
        frame = frames.hot(frames.RESULT, frames.HAS_FD, call.number, 0, 1, 0, section_of(b"y"))
        connection.send(frame, null.fileno())
    call.join()
    assert call.waiter.result_fd is not None
    os.close(call.waiter.result_fd)


def test_a_request_that_is_answered_with_a_result_closes_its_file(channel: Channel, hub: FakeHub):
    hub.hold = True
    asking = threading.Thread(target=lambda: channel.request("x"))
    asking.start()
    hub.wait_held(1)
    connection, number, _ = hub.held[0]
    with open(os.devnull) as null:
        frame = frames.hot(frames.RESULT, frames.HAS_FD, number, 0, 1, 0, section_of(b"x"))
        connection.send(frame, null.fileno())
    hub.answer()
    asking.join(WITHIN_S)
    assert not asking.is_alive()


# -- events


def test_a_notice_is_shown(channel: Channel, hub: FakeHub, capsys: pytest.CaptureFixture[str]):
    hub.connections[0].event("notice", text="weaker isolation than asked for")
    hub.connections[0].event("status", anything=1)
    channel.request("x")
    assert capsys.readouterr().err == "volant: weaker isolation than asked for\n"


def test_an_event_that_cannot_be_shown_takes_no_answer_along(channel: Channel, hub: FakeHub):
    """Standard output may be a pipe whose reader has left."""

    def broken_output(event: dict[str, object]) -> None:
        raise BrokenPipeError(f"nobody reads {event['op']}")

    channel.on_event = broken_output
    hub.hold = True
    follower = Call(channel, b"x")
    channel.register(follower.number, follower.waiter)
    channel.send(follower.waiter.frame)
    hub.wait_held(1)
    [connection] = hub.connections
    event = frames.control(frames.EVENT, values.encode({"op": "log"}))
    connection.send(event + event + hub.held.pop()[2])
    with pytest.raises(BrokenPipeError, match="nobody reads log"):
        channel.wait(follower.waiter)
    assert follower.waiter.ready
    channel.unregister(follower.number)


# -- the end


def test_closing_ends_every_wait(channel: Channel, hub: FakeHub):
    hub.hold = True
    calls = [Call(channel, b"x").start() for _ in range(3)]
    hub.wait_held(3)
    channel.close()
    for call in calls:
        with pytest.raises(errors.ConnectionError, match="connection to the hub"):
            call.join()
    for attempt in (lambda: channel.request("x"), lambda: channel.tell("x"), channel.close):
        try:
            attempt()
        except errors.ConnectionError as error:
            assert "closed" in error.message  # noqa: PT017  # closing again is no error
    channel.pump()


def test_a_container_does_not_look_for_another_hub(hub: FakeHub):
    import socket

    ours, theirs = socket.socketpair()
    channel = Channel(ours, None)
    waiter = CallWaiter(submit_frame(1, b"x"), None)
    channel.register(1, waiter)
    channel.send(waiter.frame)
    theirs.close()
    with pytest.raises(errors.ConnectionError, match="was lost"):
        channel.wait(waiter)
    with pytest.raises(errors.ConnectionError, match="is closed"):
        channel.send(waiter.frame)


def test_a_hub_that_says_goodbye_is_not_looked_for(channel: Channel, hub: FakeHub):
    hub.hold = True
    call = Call(channel, b"x").start()
    hub.wait_held(1)
    hub.connections[0].event("closing", reason="the daemon was stopped: by a test")
    hub.cut()
    with pytest.raises(errors.ConnectionError, match="stopped: by a test"):
        call.join()
    with pytest.raises(errors.ConnectionError, match="stopped: by a test"):
        channel.request("x")
    assert len(hub.wait_heard("hello")) == 1


INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
from tests.integration.channel.fake_hub import FakeHub
from tests.integration.channel.test_channel import Call
from volant.channel.opening import open_channel

home = Path(sys.argv[1])
hub = FakeHub(home)
channel = open_channel(str(home))
hub.hold = True
leader = Call(channel, b"leader")
other = Call(channel, b"other")


def interrupt():
    hub.wait_held(1)
    other.start()
    hub.wait_held(2)
    while not channel._followers:
        pass
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


threading.Thread(target=interrupt, daemon=True).start()
leader.run()
assert type(leader.error) is KeyboardInterrupt, leader.error
hub.answer(other.number)
print(other.join().decode(), "was answered")
channel.close()
hub.close()
"""


def test_an_interrupted_leader_leaves_the_reading_to_another(home):
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, home],
        capture_output=True, text=True, timeout=WITHIN_S * 2, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.stdout == "other was answered\n", run.stderr
    assert run.returncode != -signal.SIGINT


def test_a_fork_has_a_connection_of_its_own(channel: Channel, hub: FakeHub):
    hub.hold = True
    call = Call(channel, b"x").start()
    hub.wait_held(1)
    script = "the parent's connection is not the child's to end"
    pid = os.fork()
    if pid == 0:
        channel.abandon()
        os._exit(0 if channel.closed else 1)
    assert os.waitpid(pid, 0)[1] == 0, script
    hub.answer()
    call.join()


def test_a_client_that_was_refused_before_it_spoke_hears_why() -> None:
    """The hub may have hung up by the time that the client sends its greeting."""
    ours, theirs = socket.socketpair()
    fault = platform_fault("AuthError", "the key was not shown")
    theirs.sendall(frames.control(frames.REPLY, values.encode({"id": 0, "fault": fault})))
    theirs.close()
    channel = Channel(ours, None)
    with pytest.raises(errors.AuthError, match="the key was not shown"):
        channel.greet()
    channel.close()


def test_what_is_held_goes_before_what_is_sent_after_it(channel: Channel, hub: FakeHub):
    for number in (1, 2):
        channel.hold(submit_frame(number, b"held"))
    channel.send(submit_frame(3, b"sent"))
    assert hub.wait_heard("submit", 3) == [1, 2, 3]


def test_what_is_held_is_sent_once(channel: Channel, hub: FakeHub):
    channel.hold(submit_frame(1, b"held"))
    channel.flush()
    channel.flush()
    channel.send(submit_frame(2, b"sent"))
    assert hub.wait_heard("submit", 2) == [1, 2]


def test_a_channel_that_is_closed_holds_nothing(channel: Channel):
    channel.hold(submit_frame(1, b"held"))
    channel.close()
    channel.flush()
    with pytest.raises(errors.ConnectionError):
        channel.hold(submit_frame(2, b"held"))


def test_what_is_held_is_not_sent_over_the_next_connection(channel: Channel, hub: FakeHub):
    """Whose it was sends it again by itself."""
    channel.hold(submit_frame(77, b"held"))
    hub.cut()
    assert channel.request("app_list")["echo"]
    assert "submit" not in [what for what, _ in hub.heard]
