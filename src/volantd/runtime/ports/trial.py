"""Whether this machine lets a supervisor decide where processes bind their ports: tried once."""

from __future__ import annotations

import _socket
import os
import select
import socket

from volant.runner import linux, seccomp
from volant.runner.ports import rules
from volant.runner.ports.supervisor import Supervisor

#: Never given to a container, as its block begins there.
ADDRESS = f"127.{rules.FIRST_MIN}.0.0"
#: How long it may take.
WITHIN_MS = 2000


def try_out() -> str:
    """Have a child bind any port of loopback; "" if it got the address that was meant.

    Made for a process that does nothing else. What fails is told by its reason.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        _bind(theirs)
    theirs.close()
    data, fds, _, _ = socket.recv_fds(ours, 200, 1)
    if not fds:
        os.waitpid(pid, 0)
        return data.decode() or "the process that tried it died"
    poll = select.poll()
    supervisor = Supervisor(poll)
    supervisor.watch(fds[0], "s1", ADDRESS)
    while fds[0] in supervisor:
        events = poll.poll(WITHIN_MS)
        if not events:
            os.kill(pid, 9)
            break
        for fd, event in events:
            supervisor.on_event(fd, event)
    os.waitpid(pid, 0)
    found = ours.recv(200, _socket.MSG_DONTWAIT).decode()
    return "" if found == ADDRESS else f"a port was bound at {found}"


def _bind(channel: socket.socket) -> None:
    try:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        listener = linux.install_supervised_seccomp(seccomp.build(tells_ports=True))
        socket.send_fds(channel, [b"listener"], [listener])
        os.close(listener)
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        channel.send(server.getsockname()[0].encode())
    except OSError as error:
        channel.send(str(error).encode()[:200])
    finally:
        os._exit(0)
