"""Decides on bind, listen and connect of the containers of one zygote; part of its nursery.

    container: bind(0.0.0.0:8000) --kernel--> [listener] -> takes the socket, binds it to
               127.a.b.c:8000 --answer--> 0
    container: connect(127.0.0.1:8000) -----> [listener] -> writes 127.a.b.c into its memory
               --let--> the kernel connects it, as long as that takes

    container: connect(127.0.0.1:8000, "awaited") -> waits for a listen(8000), which is made here,
               so that the port accepts when the connect goes on

It acts with rights that reach no farther than the containers': a port that they may not bind, it
cannot either. What it does never waits for a container. A connect is changed in the memory of
whoever asks, and made by the kernel, because only there it may block or be interrupted; so
between the two the address can be changed again. That is no way out: a process that wants
another's port may as well ask for its address. Nothing here is what keeps strangers apart.
"""

from __future__ import annotations

import _signal
import _socket
import os
import select
from errno import EBADF, EFAULT, EIO, ENOTSOCK

from volant.runner.ports import held, rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from volant.runner.ports.held import HeldCall

_X86 = os.uname().machine == "x86_64"
_BIND, _CONNECT = (49, 42) if _X86 else (200, 203)
#: No address is larger.
_ADDRESS_SPACE = 128
_TCP, _MPTCP = 6, 262
_DOMAIN, _PROTOCOL = 39, 38  # SO_DOMAIN, SO_PROTOCOL
_IPV6_ONLY = 26
_BACKLOG_MAX = (1 << 31) - 1
_BIND_TO_DEVICE = 25
_LOOPBACK_DEVICE = b"lo\0"
#: No memory there, or no socket: the kernel will say the same.
_ERRORS_OF_CALLER = frozenset({EBADF, EFAULT, EIO, ENOTSOCK})


class Supervisor:
    """Who waits for the listeners: the descriptors that tell of calls."""

    def __init__(self, poll: select.poll) -> None:
        """`poll`: waits for them among other things."""
        self._poll = poll
        self._listeners: dict[int, rules.OwnPorts] = {}
        self._owned: dict[str, rules.OwnPorts] = {}
        #: Connections that wait for somebody to listen: who told of each, and the port.
        self._waiting: dict[rules.OwnPorts, list[tuple[int, HeldCall, int]]] = {}
        _signal.signal(_signal.SIGALRM, _on_alarm)  # see `held.receive`

    def watch(self, listener: int, name: str, address: str) -> None:
        """Decide from now on for the processes behind a listener.

        Args:
            listener: ours from now on.
            name: of the cell that they are in.
            address: of that cell.

        Raises:
            ValueError: for what can be no address of one, and for what is no listener.
        """
        held.prepare(listener)
        own = self._owned.get(name)
        if own is None:
            own = self._owned[name] = rules.OwnPorts(address)
        self._listeners[listener] = own
        self._poll.register(listener, select.POLLIN)

    def forget(self, name: str) -> None:
        """Note that a cell is gone."""
        own = self._owned.pop(name, None)
        if own is not None:
            self._waiting.pop(own, None)

    def close(self) -> None:
        """In a fork: leave it all to the one that this was forked from."""
        for listener in self._listeners:
            os.close(listener)
        self._listeners.clear()

    def __contains__(self, fd: int) -> bool:
        return fd in self._listeners

    def on_event(self, listener: int, event: int) -> None:
        """Decide on a call that is held, or let go of processes that are all dead."""
        if not event & select.POLLIN:
            self._poll.unregister(listener)
            own = self._listeners.pop(listener)
            if own in self._waiting:
                self._waiting[own] = [one for one in self._waiting[own] if one[0] != listener]
            os.close(listener)
            return
        call = held.receive(listener)
        if call is None:
            return
        own = self._listeners[listener]
        try:
            if call.number == _BIND:
                error = _bind(listener, call, own)
            elif call.number != _CONNECT:
                error = self._listen(listener, call, own)
            elif self._keep_waiting(listener, call, own):
                return
            else:
                error = _connect(listener, call, own)
        except OSError as failure:
            # Never let go on what could not be looked at: it would bind where it must not.
            error = None if failure.errno in _ERRORS_OF_CALLER else failure.errno or EIO
        if error is None:
            held.let(listener, call)
        else:
            held.answer(listener, call, error)

    def _keep_waiting(self, listener: int, call: HeldCall, own: rules.OwnPorts) -> bool:
        """Whether a connection stays held until somebody listens."""
        _, at, size = call.arguments[:3]
        if size & 0xFFFFFFFF != rules.AWAITED_BYTES:
            return False
        port = own.awaited_port(held.read(call.pid, at, rules.AWAITED_BYTES))
        waiting = self._waiting.setdefault(own, [])
        if not port or len(waiting) >= rules.WAITING_MAX:
            return False
        waiting.append((listener, call, port))
        return True

    def _listen(self, listener: int, call: HeldCall, own: rules.OwnPorts) -> int | None:
        """Have a program listen, where only this machine reaches it; what waits for it goes on."""
        taken = held.take_socket(call.pid, call.arguments[0] & 0xFFFFFFFF)
        try:
            port = _prepared(taken) if held.is_there(listener, call) else 0
            if not port:
                return None
            if len(own.listening) < rules.LISTENING_MAX:
                own.listening.add(port)
            waiting = self._waiting.get(own, [])
            if all(wanted != port for _, _, wanted in waiting):
                return None
            try:
                # A negative one means as many as there may be, which Python does not know.
                taken.listen(min(call.arguments[1] & 0xFFFFFFFF, _BACKLOG_MAX))
            except OSError as error:
                return error.errno
        finally:
            taken.close()
        self._waiting[own] = [one for one in waiting if one[2] != port]
        for its_listener, waiter, wanted in waiting:
            if wanted == port:
                _go_on(its_listener, waiter, own)
        return 0


# What decides gives the errno or 0 that a call returns with; None lets the kernel make it.


def _connect(listener: int, call: HeldCall, own: rules.OwnPorts) -> int | None:
    if own.first_ports or own.second_ports:
        _redirect(listener, call, own)
    return None


def _go_on(listener: int, call: HeldCall, own: rules.OwnPorts) -> None:
    """Have the kernel make a connection that has waited."""
    try:
        _redirect(listener, call, own)
    except OSError:
        pass  # its process has died, or has taken memory or socket away
    held.let(listener, call)


def _bind(listener: int, call: HeldCall, own: rules.OwnPorts) -> int | None:
    fd, at, size = call.arguments[:3]
    if size & 0xFFFFFFFF > _ADDRESS_SPACE:
        return None  # an error
    raw = held.read(call.pid, at, min(size & 0xFFFFFFFF, rules.ADDRESS_BYTES_MAX))
    taken = held.take_socket(call.pid, fd & 0xFFFFFFFF)
    try:
        if not held.is_there(listener, call) or not _is_tcp(taken):
            return None
        domain = taken.getsockopt(_socket.SOL_SOCKET, _DOMAIN)
        wanted = rules.parse(raw, domain)
        if wanted is None:
            return None
        is_ipv6 = domain == rules.AF_INET6
        only_ipv6 = is_ipv6 and taken.getsockopt(_socket.IPPROTO_IPV6, _IPV6_ONLY) != 0
        if only_ipv6 and wanted.ipv4 is not None:
            return None  # an error
        placed = own.place(wanted, only_ipv6=only_ipv6, is_local=_is_local)
        if placed is None:
            return None
        host = _socket.inet_ntoa(placed)
        if only_ipv6:
            taken.setsockopt(_socket.IPPROTO_IPV6, _IPV6_ONLY, 0)
        try:
            taken.bind((f"::ffff:{host}" if is_ipv6 else host, wanted.port))
        except OSError as error:
            if only_ipv6:
                taken.setsockopt(_socket.IPPROTO_IPV6, _IPV6_ONLY, 1)
            return error.errno
        own.note(wanted, placed, taken.getsockname()[1])
        return 0
    finally:
        taken.close()


def _prepared(taken: _socket.socket) -> int:
    """The port of a socket that is about to listen, and is not reached from elsewhere; 0: none."""
    if not _is_tcp(taken):
        return 0
    domain = taken.getsockopt(_socket.SOL_SOCKET, _DOMAIN)
    if domain not in (rules.AF_INET, rules.AF_INET6):
        return 0
    family = _socket.AF_INET6 if domain == rules.AF_INET6 else _socket.AF_INET
    host, port = taken.getsockname()[:2]
    if not rules.is_loopback(_socket.inet_pton(family, host.partition("%")[0])):
        taken.setsockopt(_socket.SOL_SOCKET, _BIND_TO_DEVICE, _LOOPBACK_DEVICE)
    return int(port)


def _redirect(listener: int, call: HeldCall, own: rules.OwnPorts) -> None:
    """Have a connection to a port of the container's own reach it."""
    fd, at, size = call.arguments[:3]
    raw = held.read(call.pid, at, min(size & 0xFFFFFFFF, rules.ADDRESS_BYTES_MAX))
    wanted = rules.parse(raw)
    found = None if wanted is None else own.find(wanted, _is_local)
    if wanted is None or found is None or found == wanted.host:
        return
    taken = held.take_socket(call.pid, fd & 0xFFFFFFFF)
    try:
        is_meant = _is_tcp(taken)
    finally:
        taken.close()
    if is_meant and held.is_there(listener, call):
        held.write(call.pid, at + wanted.at, found)


def _is_tcp(sock: _socket.socket) -> bool:
    if sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_TYPE) != _socket.SOCK_STREAM:
        return False
    return sock.getsockopt(_socket.SOL_SOCKET, _PROTOCOL) in (_TCP, _MPTCP)


def _is_local(host: bytes) -> bool:
    """Whether an address is one of this machine's: one can bind to no other."""
    family = _socket.AF_INET if len(host) == 4 else _socket.AF_INET6
    try:
        probe = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    except OSError:
        return False  # no IPv6 here
    try:
        probe.bind((_socket.inet_ntop(family, host), 0))
    except OSError:
        return False
    finally:
        probe.close()
    return True


def _on_alarm(_signum: int, _frame: FrameType | None) -> None:
    """Only there so that a call of the kernel ends."""
