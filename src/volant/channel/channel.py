"""The one connection of a process to the hub, and how threads share it.

    thread A ──wait──► leader: reads the socket, hands each frame to the waiter it belongs to
    thread B ──wait──► follower: sleeps until its waiter is fed, or until it becomes the leader

The thread that waits for an answer reads the socket itself, so that a call costs no thread
switch. When the leader has its answer it wakes one follower to take over. After a lost
connection the leader connects again (starting the daemon if need be) and every waiter
resubmits what it still waits for; ids make that idempotent.
"""

from __future__ import annotations

import os
import select
import sys
from _socket import MSG_DONTWAIT, SHUT_RDWR
from _thread import RLock, allocate_lock
from collections import deque
from itertools import count
from time import monotonic, sleep

from volant import ids
from volant.channel import daemon
from volant.channel.express import Tokens, open_express_lane
from volant.channel.lookout import LOOK_OUT_S, SEVERAL_CORES, look_out
from volant.channel.tickets import Tickets
from volant.channel.waiter import RequestWaiter, raise_reply_error
from volant.errors import ConnectionError, Error, TimeoutError, VersionError
from volant.version import VERSION
from volant.wire import frames, payloads, values
from volant.wire.stream import FrameStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from _thread import LockType
    from collections.abc import Callable
    from typing import Any

    from volant.channel.express import ExpressLane
    from volant.channel.waiter import Waiter

#: Times that a lost connection is made again before every waiter fails.
RECONNECT_ATTEMPTS_MAX = 3
#: Connections lost one after the other, without an answer in between, before every waiter fails:
#: whatever we send again may be what ends them. Each one is made a little later than the last.
LOSSES_IN_A_ROW_MAX = 10
LOSS_PAUSE_S = 0.02


class Channel:
    """A connection to the hub that many threads may use at once."""

    def __init__(self, sock: _socket.socket, home: str | None, environment: str = "main") -> None:
        """Take over a connected socket.

        Args:
            home: where to find the daemon again after a lost connection; None when the
                connection cannot be made again (a container's).
            environment: where names are looked up that say nothing else; the hub knows that of a
                container.
        """
        self.home = home
        self.environment = environment
        self.session = ids.new_session()
        self.hub: dict[str, Any] = {}
        self.on_event: Callable[[dict[str, Any]], None] = show_notice
        #: Called after a reconnect, before the waiters resubmit (opens the apps again).
        self.on_reconnect: list[Callable[[], None]] = []
        self.closed = False
        #: Counts the connections made; a new descriptor often has the number of the old one.
        self.connection = 1
        #: The last single call was answered within `LOOK_OUT_S`.
        self._answers_soon = False
        #: Connections lost since the last answer.
        self._losses = 0
        #: Why the hub said that it closes the connection; then it is not made again.
        self._closing = ""
        self._stream = FrameStream(sock)
        self._numbers = count(1)
        self._waiters: dict[int, Waiter] = {}
        self._send_lock = RLock()
        self._leader = allocate_lock()
        self._followers_lock = allocate_lock()
        self._followers: dict[Waiter, LockType] = {}
        self._express: ExpressLane | None = None
        self.lane_tokens = Tokens()
        #: What changes that are made over this channel are marked with.
        self.tickets = Tickets()
        #: Calls answered by the lane, and how long they ran; the next frame takes them along.
        self._receipts: deque[tuple[int, int]] = deque()
        #: Frames that wait for company, see `hold`.
        self._held: list[bytes] = []

    @property
    def waiting_count(self) -> int:
        """Calls and requests whose answer is not here yet."""
        return sum([waiter.is_waited_for for waiter in list(self._waiters.values())])

    # -- sending

    def next_number(self) -> int:
        """A number for a call or request, unique in this session."""
        return next(self._numbers)

    def register(self, number: int, waiter: Waiter) -> None:
        """Route what comes for `number` to `waiter`."""
        self._waiters[number] = waiter

    def unregister(self, number: int) -> None:
        """Stop routing; what still comes for `number` is dropped."""
        self._waiters.pop(number, None)

    def send(self, frame: bytes, fd: int | None = None) -> None:
        """Send a frame that a registered waiter would resubmit if the connection breaks."""
        connection = self.connection
        with self._send_lock:
            if connection == self.connection:  # else it was resubmitted while we waited
                self._transmit(frame, fd)

    def hold(self, frame: bytes) -> None:
        """`send`, in one write with whatever is sent next; who holds sees to a `flush`."""
        with self._send_lock:
            self._check_open()
            self._held.append(frame)

    def flush(self) -> None:
        """Send what is held."""
        with self._send_lock:
            if self._held and not self.closed:
                try:
                    self._transmit(b"")
                except ConnectionError:
                    pass  # what reads next finds out, and fails those who wait

    def _check_open(self) -> None:
        if self.closed:
            raise ConnectionError(self._closing or "the connection to the hub is closed")

    def _transmit(self, frame: bytes, fd: int | None = None) -> None:
        self._check_open()
        if self._held:
            frame = b"".join((*self._held, frame))
            self._held.clear()
        if self._receipts:
            frame = self._take_receipts() + frame
        try:
            self._stream.send(frame, fd)
        except OSError:
            if self.home is None or self.closed:
                closing = self._closing or "the connection to the hub is closed"
                raise ConnectionError(closing) from None
            # The next read sees the end of the stream, reconnects and resubmits.

    def _take_receipts(self) -> bytes:
        """What the hub may not know yet: a container answers us first, and may be interrupted."""
        taken = []
        while self._receipts:
            taken.append(self._receipts.popleft())
        return frames.receipts(taken)

    def request(self, op: str, **fields: object) -> dict[str, Any]:
        """Send a control request and wait for its reply.

        Raises:
            Error: the one the hub answered with.
            ConnectionError: when the hub cannot be reached.
        """
        number = self.next_number()
        body = values.encode({"id": number, "op": op, **fields})
        waiter = RequestWaiter(frames.control(frames.REQUEST, body))
        self.register(number, waiter)
        try:
            self.send(waiter.frame)
            self.wait(waiter)
        finally:
            self.unregister(number)
        raise_reply_error(waiter.reply)
        return waiter.reply

    def tell(self, op: str, **fields: object) -> None:
        """Send a control event that has no answer."""
        with self._send_lock:
            self._transmit(frames.control(frames.EVENT, values.encode({"op": op, **fields})))

    # -- waiting

    def wait(self, waiter: Waiter, timeout_s: float | None = None) -> None:
        """Return when `waiter.ready`; lead or follow until then.

        Raises:
            TimeoutError: after `timeout_s`.
            BaseException: the waiter's error.
        """
        deadline = None if timeout_s is None else monotonic() + timeout_s
        try:
            while not waiter.ready:
                if self._leader.acquire(False):
                    self._lead_and_hand_over(waiter, deadline)
                else:
                    self._follow(waiter, deadline)
        except BaseException:
            self._promote()  # this thread may have been the one that was to lead next
            raise
        if waiter.error is not None:
            raise waiter.error

    def _lead_and_hand_over(self, waiter: Waiter, deadline: float | None) -> None:
        try:
            begun = monotonic() if waiter.is_single else 0.0
            while not waiter.ready:
                if deadline is not None and not self._readable(deadline):
                    raise TimeoutError("no answer within the given time")
                if begun and self._answers_soon and len(self._waiters) == 1:
                    look_out(self.fileno())
                self._read_once()
            if begun:
                self._answers_soon = SEVERAL_CORES and monotonic() - begun < LOOK_OUT_S
        finally:
            self._leader.release()
            self._promote()

    def _follow(self, waiter: Waiter, deadline: float | None) -> None:
        gate = allocate_lock()
        gate.acquire()
        with self._followers_lock:
            self._followers[waiter] = gate
        leads = False
        try:
            # The leader may have left before we were listed: look once more.
            leads = self._leader.acquire(False)
            if not leads and not waiter.ready:
                timeout_s = -1 if deadline is None else max(0.0, deadline - monotonic())
                if not gate.acquire(True, timeout_s):
                    raise TimeoutError("no answer within the given time")
        finally:
            with self._followers_lock:
                self._followers.pop(waiter, None)
        if leads:  # and is listed no more: it must not promote itself
            self._lead_and_hand_over(waiter, deadline)

    def _promote(self) -> None:
        if not self._followers:
            return
        with self._followers_lock:
            for gate in self._followers.values():
                if gate.locked():
                    gate.release()
                    return

    def _readable(self, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - monotonic()) * 1000))

    def pump(self) -> None:
        """Handle what is there, without blocking, unless another thread reads already."""
        if self._leader.acquire(False):
            try:
                self._read_once(MSG_DONTWAIT)
            finally:
                self._leader.release()
                self._promote()

    def fileno(self) -> int:
        """The descriptor to watch for reading."""
        if self._express is not None:
            return self._express.watch.fileno()
        return self._stream.sock.fileno()

    # -- reading (leader only)

    def _read_once(self, flags: int = 0) -> None:
        if self._stream.releases:
            self._send_releases()
        if self._express is not None:
            if not self._take_express(self._express, wait=not flags):
                return
            flags = MSG_DONTWAIT
        try:
            received = self._stream.receive(flags)
        except BlockingIOError:
            return
        except OSError:
            received = None
        self._dispatch(received)

    def _take_express(self, lane: ExpressLane, *, wait: bool) -> bool:
        """Take results that came by the express lane; True when the hub has sent something."""
        from_hub = False
        for fd, _ in lane.watch.poll(-1 if wait else 0):
            if fd != lane.fd:
                from_hub = True
                continue
            for function, head, section in lane.receive():
                waiter = self._waiters.get(head[0])
                if waiter is not None and waiter.is_call_of(function):
                    self._losses = 0
                    self._receipts.append((head[0], head[3]))
                    waiter.on_result(0, head, section, None)
                    self._fed(waiter)
        return from_hub

    def _send_releases(self) -> None:
        if self._send_lock.acquire(False):  # else whoever sends takes them along, or the next
            try:
                self._stream.send_releases()
            except OSError:
                pass  # what reads next finds out
            finally:
                self._send_lock.release()

    def _dispatch(self, received: list[tuple[int, int, bytes]] | None) -> None:
        if received is None:
            self._on_lost()
            return
        failure: Exception | None = None
        for kind, flags, body in received:
            if kind == frames.RESULT:
                self._losses = 0
                head = frames.HOT.unpack_from(body)
                fd = self._stream.take_fd() if flags & frames.HAS_FD else None
                waiter = self._waiters.get(head[0])
                if waiter is None:
                    if fd is not None:
                        os.close(fd)
                    continue
                waiter.on_result(flags, head, body[frames.HOT.size :], fd)
                self._fed(waiter)
            elif kind == frames.REPLY:
                self._losses = 0
                reply = values.decode_map(body)
                waiter = self._waiters.get(reply["id"])  # type: ignore[arg-type]  # a number
                if waiter is not None:
                    waiter.on_reply(reply)
                    self._fed(waiter)
            elif kind == frames.EVENT:
                event = values.decode_map(body)
                if event["op"] == "released":
                    payloads.on_released(event)
                    continue
                if event["op"] == "closing":
                    self._closing = str(event["reason"])
                try:
                    self.on_event(event)
                except Exception as error:  # noqa: BLE001  # raised below, when all is handed out
                    failure = error
        if failure is not None:
            raise failure

    def _fed(self, waiter: Waiter) -> None:
        if waiter.notify is not None:
            waiter.notify()
        elif self._followers:
            with self._followers_lock:
                gate = self._followers.get(waiter)
                if gate is not None and gate.locked():
                    gate.release()

    # -- losing and finding the hub again

    def _on_lost(self) -> None:
        error: BaseException = ConnectionError("the connection to the hub was lost")
        self._losses += 1
        attempts = RECONNECT_ATTEMPTS_MAX if self._losses <= LOSSES_IN_A_ROW_MAX else 0
        if self.home is None or self.closed:
            attempts = 0
        elif attempts and not self._closing:
            sleep(LOSS_PAUSE_S * (self._losses - 1))
        while attempts and not self._closing:
            attempts -= 1
            try:
                self._reconnect()
                return
            except Error as failure:
                error = failure
            except OSError as failure:
                error = ConnectionError(f"the hub was lost again and again: {failure.strerror}")
        self._end(ConnectionError(self._closing) if self._closing else error)

    def _end(self, error: BaseException) -> None:
        self.closed = True
        self._release()
        for waiter in list(self._waiters.values()):
            waiter.fail(error)
            self._fed(waiter)

    def _reconnect(self) -> None:
        """Connect anew, and send again what has no answer; nobody else sends meanwhile."""
        assert self.home is not None
        with self._send_lock:
            self._stream.close()
            self._stream = FrameStream(daemon.connect_or_start(self.home))
            payloads.forget_lent()
            self._receipts.clear()
            self._held.clear()
            self.greet()
            for callback in self.on_reconnect:
                callback()
            # First this, then the waiters: who is registered after it sends by itself.
            self.connection += 1
            for waiter in list(self._waiters.values()):
                for frame, fd in waiter.resubmit():
                    self._transmit(frame, fd)
                if waiter.ready or waiter.notify is not None:
                    self._fed(waiter)  # an event loop has to watch the new descriptor

    def greet(self) -> None:
        """Say who we are, learn who the hub is; leader only, or before any other thread.

        Raises:
            VersionError: when hub and client are of different versions.
        """
        hello = {"id": 0, "op": "hello", "protocol": frames.PROTOCOL, "version": VERSION,
                 "session": self.session, "environment": self.environment,
                 "pid": os.getpid()}  # fmt: skip
        try:
            self._stream.send(frames.control(frames.REQUEST, values.encode(hello)))
        except OSError:
            pass  # it has refused us and hung up: why can still be read
        self.hub = self._read_reply(0)
        raise_reply_error(self.hub)
        self.session = self.hub["session"]
        if self.hub["version"] != VERSION:
            raise VersionError(
                f"the daemon is version {self.hub['version']}, this client is {VERSION}",
                hint="run `volant server stop`; the next command starts the new one",
            )
        if self.hub.get("express"):
            self._open_express_lane()

    def _open_express_lane(self) -> None:
        """Give the hub an end of the express lane, for the containers of our apps."""
        if self._express is not None:
            self._express.close()
        self._express, theirs = open_express_lane(self._stream.sock.fileno(), self.lane_tokens)
        event = values.encode({"op": "express"})
        with self._send_lock:
            self._stream.send(frames.control(frames.EVENT, event, frames.HAS_FD), theirs.fileno())
        theirs.close()

    def direct_request(self, op: str, **fields: object) -> dict[str, Any]:
        """`request` for the thread that leads already (during a reconnect)."""
        number = self.next_number()
        body = values.encode({"id": number, "op": op, **fields})
        self._stream.send(frames.control(frames.REQUEST, body))
        reply = self._read_reply(number)
        raise_reply_error(reply)
        return reply

    def _read_reply(self, number: int) -> dict[str, Any]:
        while True:
            received = self._stream.receive()
            if received is None:
                raise daemon.DaemonLostError(self._closing or "the hub closed the connection")
            for position, (kind, _, body) in enumerate(received):
                if kind == frames.REPLY:
                    reply = values.decode_map(body)
                    if reply["id"] == number:
                        self._dispatch(received[position + 1 :])
                        return reply
                self._dispatch([received[position]])

    def close(self) -> None:
        """Close the connection; waiters fail."""
        self.closed = True
        try:
            self._stream.sock.shutdown(SHUT_RDWR)
        except OSError:
            pass  # it is closed already
        # A thread that reads has just been woken by that, and ends the rest by itself.
        if self._leader.acquire(False):
            try:
                self._end(ConnectionError("the connection to the hub is closed"))
            finally:
                self._leader.release()

    def _release(self) -> None:
        self._stream.close()
        if self._express is not None:
            self._express.close()
            self._express = None

    def abandon(self) -> None:
        """In a fork: give up a connection that belongs to the parent process."""
        self.home = None
        self._send_lock = RLock()  # another thread of the parent may have held it
        self._leader = allocate_lock()
        self.closed = True
        self._release()  # without a word to the hub, for which this is still the parent's


def show_notice(event: dict[str, Any]) -> None:
    """Print what must not pass silently, such as isolation that is weaker than asked for."""
    if event["op"] == "notice":
        print(f"volant: {event['text']}", file=sys.stderr)  # noqa: T201  # meant for a person
