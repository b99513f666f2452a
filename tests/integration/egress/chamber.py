"""A process in a network of its own, wired as a sandbox's is: `python -m ... FD`.

Sends its sockets, then runs what it is sent and answers with what it left as `result`.
"""

from __future__ import annotations

import array
import json
import socket
import subprocess
import sys
from typing import Any

from tests.support import ROOT
from volant.runner import isolate, linux
from volantd.runtime import template
from volantd.runtime.outlets import netlink, wiring

ANSWER_BYTES_MAX = 1 << 20


class FailedError(Exception):
    """What ran in there raised."""


class Chamber:
    """The process, as tests see it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.egress.chamber", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),), cwd=ROOT,
        )  # fmt: skip
        theirs.close()
        self._socket.settimeout(60)
        _, fds, _, _ = socket.recv_fds(self._socket, 1, wiring.SOCKETS)
        self.sockets = [socket.socket(fileno=fd) for fd in fds]

    def ask(self, code: str) -> Any:
        """Run code, and return what it left as `result`.

        Raises:
            FailedError: with what it raised.
        """
        self._socket.send(code.encode())
        answer = json.loads(self._socket.recv(ANSWER_BYTES_MAX))
        if "error" in answer:
            raise FailedError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait(30)


def main() -> None:
    """Be it."""
    tests = socket.socket(fileno=int(sys.argv[1]))
    template.enter_own_user_namespace(linux.CLONE_NEWNET)
    isolate.raise_loopback()
    sockets = wiring.make_sockets()
    netlink.lead_out_to({
        socket.IPPROTO_TCP: sockets[0].getsockname()[1],
        socket.IPPROTO_UDP: sockets[2].getsockname()[1],
    })  # fmt: skip
    fds = array.array("i", [sock.fileno() for sock in sockets])
    tests.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    port = sockets[0].getsockname()[1]
    for sock in sockets:
        sock.close()
    while code := tests.recv(1 << 20):
        names: dict[str, Any] = {"listener_port": port}
        try:
            exec(code, names)  # the tests' own
            answer = {"result": names.get("result")}
        except Exception as error:  # noqa: BLE001  # told to the test
            answer = {"error": f"{type(error).__name__}: {error}"}
        names.clear()
        tests.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
