"""A relay: a process that passes connections at a port of this machine on to one of a container.

    launcher --fork--> relay: enters the container's network if that is its own, gives up all
                       rights, says that it is there
    client --> listener --> relay <--bytes, both ways--> port of the container

Apart from the daemon, which has better to do than to copy bytes, and with fewer rights than the
container: what it copies may be hostile to both. Nothing is kept of what one side does not take
but one read. Ends with the launcher, or on SIGTERM when what the container has sent is passed on.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress
from errno import EINPROGRESS
from time import monotonic

from volant.runner import linux, seccomp
from volantd.runtime import template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext
    from typing import Any, NoReturn

    from volantd.runtime.ports.encrypting import Encrypted

#: Connections of one relay; more of them wait to be accepted.
CONNECTIONS_MAX = 1000
#: What is read at once, and so held of a direction whose receiver is slower.
READ_BYTES = 128 << 10
#: How long it may take, at the end, until clients have taken what the container had sent.
DRAIN_S = 2.0
#: What is told when the first connection is there, and when the last one is gone.
IN_USE, UNUSED = b"+", b"-"
#: Who it is where it was started by root.
NOBODY = 65534


def start(request: dict[str, Any], report_fd: int, fds: list[int]) -> NoReturn:
    """Become the relay that a request asks for; never returns.

    Args:
        request: `address` and `port` of the container; `enters`: whether that is one of its own
            network; `tls`: files of a certificate and its key, None for connections without.
        report_fd: is closed when it works; gets `error TEXT` should it fail.
        fds: the listener, a pidfd of the container, and a pipe that is told whether it is
            used, if anybody wants to know.
    """
    listener_fd, container_fd, use_fd = (*fds, -1)[:3]
    try:
        _close_others({listener_fd, container_fd, use_fd, report_fd})
        if use_fd >= 0:
            os.set_blocking(use_fd, False)
        as_root = os.geteuid() == 0
        allowed = request["allowed"]
        allows = None if allowed is None else _membership(allowed)  # nobody may import anything
        encrypts = None if request["tls"] is None else _context_of(request["tls"])
        if request["enters"]:
            own = 0 if as_root else linux.CLONE_NEWUSER
            linux.setns(container_fd, own | linux.CLONE_NEWNET)
        os.close(container_fd)
        if as_root:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        linux.prctl(linux.PR_SET_PDEATHSIG, 9)  # after the ids: changing them clears it
        target = (request["address"], request["port"])
        relay = Relay(
            socket.socket(fileno=listener_fd), target, allows=allows, use_fd=use_fd,
            encrypts=encrypts,
        )  # fmt: skip
        linux.capset()
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.install_seccomp(seccomp.build())
        os.close(report_fd)
        relay.run()
        os._exit(0)
    except BaseException as error:  # noqa: BLE001  # a fork must end here, and say why
        with suppress(OSError):
            template.report(report_fd, f"error {type(error).__name__}: {error}")
    os._exit(1)


def _close_others(kept: set[int]) -> None:
    """Let go of what belongs to the launcher."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with suppress(OSError):
                os.close(int(name))


def _membership(networks: list[str]) -> Callable[[str], bool]:
    """Whether an address lies in one of some networks."""
    import ipaddress  # which most relays do not need

    known = [ipaddress.ip_network(one) for one in networks]

    def is_member(peer: str) -> bool:
        address = ipaddress.ip_address(peer.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in known)

    return is_member


def _context_of(files: dict[str, str]) -> SSLContext:
    from volantd.runtime.ports import encrypting  # which most relays do not need

    return encrypting.context_of(files)


def _ready(sock: socket.socket) -> socket.socket:
    """Have a socket wait for nothing, and hold nothing back."""
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class End:
    """One of the two sockets of a connection."""

    __slots__ = (
        "greets_on", "has_ended", "is_connecting", "is_far", "is_shut", "other", "pending", "sock",
        "waited_for",
    )  # fmt: skip

    def __init__(self, sock: socket.socket | Encrypted, *, is_connecting: bool) -> None:
        self.sock = sock
        #: What a handshake of TLS waits for; 0 when there is none, or it is done.
        self.greets_on = 0 if isinstance(sock, socket.socket) else select.EPOLLIN
        self.other: End
        #: Bytes that are still to be sent here.
        self.pending = b""
        self.is_connecting = is_connecting
        #: Whether it is the container's.
        self.is_far = is_connecting
        #: Nothing more comes from here; nothing more goes to here.
        self.has_ended = False
        self.is_shut = False
        #: What is waited for; 0 if it is not among those that are.
        self.waited_for = 0

    def events(self) -> int:
        """What to wait for."""
        if self.is_connecting:
            return select.EPOLLOUT
        if self.greets_on:
            return self.greets_on
        is_other_there = not self.other.is_connecting and not self.other.greets_on
        reads = is_other_there and not self.has_ended and not self.other.pending
        return (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if self.pending else 0)

    def is_on_the_way(self) -> bool:
        """Whether something that came from here has not been passed on."""
        if self.other.pending or self.is_connecting:
            return bool(self.other.pending)
        assert isinstance(self.sock, socket.socket)
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False


class Relay:
    """State of the process."""

    def __init__(
        self, listener: socket.socket, target: tuple[str, int],
        connections_max: int = CONNECTIONS_MAX, allows: Callable[[str], bool] | None = None,
        use_fd: int = -1, encrypts: SSLContext | None = None,
    ) -> None:  # fmt: skip
        """Pass connections of a listener on to a target, an address of IPv4 and a port.

        Args:
            connections_max: how many at a time.
            allows: whether they are taken from an address; None for every one.
            use_fd: a pipe that is told whether there are any; -1 for nobody.
            encrypts: what clients speak TLS with; None for none.
        """
        self._encrypts = encrypts
        self._allows = allows
        self._use_fd = use_fd
        self._ends_max = 2 * connections_max
        self._listener = listener
        self._target = target
        self._ends: dict[int, End] = {}
        self._accepts = True
        self._poll = select.epoll()
        listener.setblocking(False)
        self._poll.register(listener.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Relay until SIGTERM comes, and pass on what the container has sent until then."""
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write)  # first, or the signal could come and wake nobody
        signal.signal(signal.SIGTERM, lambda *_: None)
        self._poll.register(wake_read, select.EPOLLIN)
        while wake_read not in self.turn():
            pass
        self._poll.unregister(wake_read)
        self._poll.unregister(self._listener.fileno())
        self._listener.close()
        deadline = monotonic() + DRAIN_S
        while any(end.is_far and end.is_on_the_way() for end in self._ends.values()):
            left_s = deadline - monotonic()
            if left_s <= 0:
                return
            self.turn(left_s)

    def turn(self, timeout_s: float | None = None) -> set[int]:
        """Wait until something happens, and deal with it; what is ready, by its descriptors."""
        events = self._poll.poll(timeout_s)
        for fd, event in events:
            if fd == self._listener.fileno():
                self._accept()
                continue
            end = self._ends.get(fd)
            if end is None:
                continue  # its connection has ended a moment ago
            try:
                self._take(end, event)
            except OSError:
                self._drop(end)
        return {fd for fd, _ in events}

    def _accept(self) -> None:
        try:
            sock, peer = self._listener.accept()
        except OSError as error:
            if not isinstance(error, (BlockingIOError, ConnectionAbortedError)):
                self._set_accepting(False)  # no descriptors: when one ends there are some again
            return
        if self._allows is not None and not self._allows(peer[0]):
            sock.close()
            return
        try:
            far = End(_ready(socket.socket(socket.AF_INET, socket.SOCK_STREAM)), is_connecting=True)
        except OSError:
            sock.close()
            self._set_accepting(False)
            return
        try:
            near = End(self._near(sock), is_connecting=False)
        except OSError:  # the client has gone already
            sock.close()
            far.sock.close()
            return
        near.other, far.other = far, near
        if not self._ends:
            self._tell(IN_USE)
        for end in (near, far):
            self._ends[end.sock.fileno()] = end
        if len(self._ends) >= self._ends_max:
            self._set_accepting(False)
        assert isinstance(far.sock, socket.socket)
        if far.sock.connect_ex(self._target) not in (0, EINPROGRESS):
            self._drop(far)
            return
        self._wait_for(near)
        self._wait_for(far)

    def _near(self, sock: socket.socket) -> socket.socket | Encrypted:
        """What is spoken to a client with."""
        _ready(sock)
        if self._encrypts is None:
            return sock
        from volantd.runtime.ports.encrypting import Encrypted

        return Encrypted(sock, self._encrypts)

    def _set_accepting(self, accepts: bool) -> None:
        if accepts != self._accepts and self._listener.fileno() >= 0:
            self._accepts = accepts
            self._poll.modify(self._listener.fileno(), select.EPOLLIN if accepts else 0)

    def _take(self, end: End, event: int) -> None:
        if end.is_connecting:
            assert isinstance(end.sock, socket.socket)
            error = end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            end.is_connecting = False
        elif event & select.EPOLLERR:
            self._drop(end)
            return
        elif not isinstance(end.sock, socket.socket) and end.greets_on:
            end.greets_on = end.sock.greet()
        else:
            if event & (select.EPOLLIN | select.EPOLLHUP) and end.events() & select.EPOLLIN:
                self._receive(end)
            if event & select.EPOLLOUT and end.pending:
                self._send(end, end.pending)
        if end.is_shut and end.other.is_shut:
            self._close(end)
        else:
            self._wait_for(end)
            self._wait_for(end.other)

    def _receive(self, end: End) -> None:
        try:
            data = end.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._send(end.other, data)
        else:
            end.has_ended = True
            self._shut_if_done(end.other)

    def _send(self, end: End, data: bytes) -> None:
        try:
            sent = end.sock.send(data)
        except BlockingIOError:
            sent = 0
        end.pending = data[sent:]
        self._shut_if_done(end)

    def _shut_if_done(self, end: End) -> None:
        """Pass on that the other side will say nothing more."""
        if end.other.has_ended and not end.pending and not end.is_shut:
            end.is_shut = True
            end.sock.shutdown(socket.SHUT_WR)

    def _wait_for(self, end: End) -> None:
        events = end.events()
        if events == end.waited_for:
            return
        if not events:
            # Whoever is waited for is reported when both sides of it are shut, asked or not.
            self._poll.unregister(end.sock.fileno())
        elif end.waited_for:
            self._poll.modify(end.sock.fileno(), events)
        else:
            self._poll.register(end.sock.fileno(), events)
        end.waited_for = events

    def _drop(self, end: End) -> None:
        """End a connection that broke: neither side is to take it for complete."""
        for one in (end, end.other):
            with suppress(OSError):
                linux.disconnect(one.sock.fileno())
        self._close(end)

    def _close(self, end: End) -> None:
        for one in (end, end.other):
            del self._ends[one.sock.fileno()]
            one.sock.close()
        if not self._ends:
            self._tell(UNUSED)
        self._set_accepting(True)

    def _tell(self, word: bytes) -> None:
        if self._use_fd >= 0:
            with suppress(OSError):  # nobody reads: the daemon is about to end
                os.write(self._use_fd, word)
