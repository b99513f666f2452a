"""The process through which sandboxes reach others: `python -m volantd.egress`.

    daemon --open ID + policy + listeners | change ID + policy | close ID--> this process
           <--done NUMBER--

One for all sandboxes of a daemon, apart from it because what it relays is hostile to both. Started
by root it becomes nobody. It ends with the daemon, and knows nothing but what it is told.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures.thread  # noqa: F401  # asyncio wants it later, and it may be out of reach
import ctypes
import encodings.idna  # noqa: F401  # likewise
import json
import os
import resource
import signal
import socket
import ssl
from typing import Any

from volantd.egress.outlet import Outlet
from volantd.egress.policy import Policy

#: Listeners of a sandbox: connections and questions, by IPv4 and IPv6.
LISTENERS = 4
#: Who it is where it was started by root.
NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE = 1, 38, 4


class Process:
    """State of the process."""

    def __init__(self, daemon: socket.socket, trust: ssl.SSLContext) -> None:
        self._trust = trust
        self._daemon = daemon
        self._outlets: dict[str, Outlet] = {}
        self.ended = asyncio.Event()
        daemon.setblocking(False)
        asyncio.get_running_loop().add_reader(daemon, self._receive)

    def _receive(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._daemon, 1, LISTENERS, socket.MSG_CMSG_CLOEXEC)
            size = int.from_bytes(self._rest(4), "big") if data else 0
        except BlockingIOError:
            return
        except OSError:
            data, fds, size = b"", [], 0
        if not data:
            asyncio.get_running_loop().remove_reader(self._daemon)
            self.ended.set()
            return
        message = json.loads(self._rest(size))
        self._take(message, [socket.socket(fileno=fd) for fd in fds])
        self._daemon.setblocking(True)
        self._daemon.sendall(message["number"].to_bytes(4, "big"))
        self._daemon.setblocking(False)

    def _rest(self, size: int) -> bytes:
        """The rest of a message, which the daemon sends without delay."""
        self._daemon.setblocking(True)
        found = b""
        while len(found) < size and (more := self._daemon.recv(size - len(found))):
            found += more
        self._daemon.setblocking(False)
        return found

    def _take(self, message: dict[str, Any], sockets: list[socket.socket]) -> None:
        sandbox_id = message["id"]
        if message["op"] == "open":
            policy = Policy.from_fields(message["policy"])
            self._outlets[sandbox_id] = Outlet(policy, sockets, trust=self._trust)
        elif message["op"] == "change":
            self._outlets[sandbox_id].change(Policy.from_fields(message["policy"]))
        else:
            self._outlets.pop(sandbox_id).close()


async def serve(daemon: socket.socket, trust: ssl.SSLContext) -> None:
    """Serve until the daemon is gone."""
    process = Process(daemon, trust)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started the daemon
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.ended.set)
    await process.ended.wait()


def confine() -> None:
    """Give up what it was started with."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after the ids: changing them clears it
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    prctl(_PR_SET_DUMPABLE, 0)  # it holds secrets


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(prog="volantd.egress", description=__doc__.splitlines()[0])
    parser.add_argument("--daemon-fd", type=int, required=True)
    given = parser.parse_args()
    trust = ssl.create_default_context()  # of files that it may be unable to read later on
    confine()
    asyncio.run(serve(socket.socket(fileno=given.daemon_fd), trust))


if __name__ == "__main__":
    main()
