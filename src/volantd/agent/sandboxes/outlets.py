"""Ways out of sandboxes, as the daemon sees them: made when one starts, changed, and closed.

    sandbox ─► launcher makes its listeners ─► the process of `volantd.egress` has them,
               with whom it may reach ─────────► and applies that

The listeners are kept here too, so that a process which dies is replaced, and whoever connects
meanwhile only waits. Secrets go over the socket to that process, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from volantd.egress.authority import Authority
from volantd.runtime.client import RuntimeFailedError
from volantd.runtime.outlets.wiring import BUNDLE, CERTIFICATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.bare import Machine
    from volantd.agent.tasks import Tasks
    from volantd.egress.policy import Policy
    from volantd.hub.hub import Hub
    from volantd.hub.sandboxes.outbound import Outbound
    from volantd.hub.sandboxes.record import Sandbox
    from volantd.runtime.containers.forked import ForkedContainer

log = logging.getLogger(__name__)

#: Until the process has done what it was told.
ANSWER_TIMEOUT_S = 15.0
#: Between two starts of one that dies at once; doubled each time, up to the second.
RESTART_S, RESTART_S_MAX = 0.1, 5.0
#: Programs that look for whom to trust by a variable, with the whole bundle and with one more.
_BUNDLE_VARIABLES = (
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE",
    "PIP_CERT", "CARGO_HTTP_CAINFO",
)  # fmt: skip
_CERTIFICATE_VARIABLES = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")


@dataclass(slots=True, kw_only=True)
class _Open:
    sockets: list[socket.socket]
    authority: Authority | None
    policy: Policy


class Outlets:
    """The ways out of this machine's sandboxes."""

    def __init__(self, machine: Machine, tasks: Tasks, clock: Callable[[], float]) -> None:
        """`clock`: seconds since 1970, for certificates."""
        self._machine = machine
        self._tasks = tasks
        self._clock = clock
        self._open: dict[str, _Open] = {}
        #: Authorities that sandboxes trust already which have no way out yet.
        self._expected: dict[str, Authority] = {}
        self._lock = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._count = 0

    async def make(
        self, sandbox: Sandbox, container: ForkedContainer, hub: Hub,
        outbound: Outbound | None = None,
    ) -> dict[str, str]:  # fmt: skip
        """Give a sandbox the way out that was asked for, if any; variables as `open` has them.

        Args:
            sandbox: which.
            container: of it.
            hub: knows secrets.
            outbound: whom it may reach from now on; None for what it was created with.

        Raises:
            RuntimeFailedError: with what failed.
            Error: when a secret is not there.
        """
        outbound = outbound or sandbox.outbound
        if outbound is None:
            return await self._share(sandbox.sidecar_of, container)
        policy = outbound.filled(hub.secrets, sandbox.app.environment)
        return await self.open(
            sandbox.sandbox_id, container, policy, alone=bool(sandbox.sidecar_of)
        )

    async def open(
        self, sandbox_id: str, container: ForkedContainer, policy: Policy, *,
        alone: bool = False,
    ) -> dict[str, str]:  # fmt: skip
        """Give a sandbox a way out; variables by which its programs know whom to trust.

        Args:
            sandbox_id: whose.
            container: of it.
            policy: what it obeys.
            alone: for what this container sends, and no other in its network.

        Raises:
            RuntimeFailedError: with what failed.
        """
        authority = self._expected.pop(sandbox_id, None)
        if policy.replacements and authority is None:
            name = f"Volant, for {sandbox_id} alone"
            authority = await asyncio.to_thread(Authority, name, self._clock())
        certificate = "" if authority is None else authority.certificate
        group = _group_of(container) if alone else None
        wanted = {"certificate": certificate, "listens": True, "group": group}
        sockets = await self._machine.launcher.wire(container, wanted)
        opened = _Open(sockets=sockets, authority=authority, policy=policy)
        opened.policy = await asyncio.to_thread(_certified, policy, authority)
        self._open[sandbox_id] = opened
        async with self._lock:
            await self._tell("open", sandbox_id)
        return {} if authority is None else _trusting()

    async def _share(self, sandbox_id: str, container: ForkedContainer) -> dict[str, str]:
        """Have a sidecar trust whom its sandbox trusts; "" for the id of none."""
        authority = self.authority_of(sandbox_id)
        if authority is None:
            return {}
        wanted = {"certificate": authority.certificate, "listens": False, "group": None}
        await self._machine.launcher.wire(container, wanted)
        return _trusting()

    def authority_of(self, sandbox_id: str) -> Authority | None:
        """Whom a sandbox trusts besides everybody else; None for nobody."""
        opened = self._open.get(sandbox_id)
        return None if opened is None else opened.authority

    def expect(self, sandbox_id: str, authority: Authority) -> None:
        """Have a sandbox that has no way out yet trust an authority, as a copy of who does."""
        self._expected[sandbox_id] = authority

    def has(self, sandbox_id: str) -> bool:
        """Whether a sandbox has a way out."""
        return sandbox_id in self._open

    def trusts(self, sandbox_id: str) -> bool:
        """Whether a sandbox trusts an authority of its own, and so headers can be replaced."""
        return sandbox_id in self._open and self._open[sandbox_id].authority is not None

    async def change(self, sandbox_id: str, policy: Policy) -> None:
        """Have a sandbox's way out obey another policy; returns when it does.

        Raises:
            RuntimeFailedError: when that cannot be.
        """
        opened = self._open[sandbox_id]
        opened.policy = await asyncio.to_thread(_certified, policy, opened.authority)
        async with self._lock:
            await self._tell("change", sandbox_id)

    def close(self, sandbox_id: str) -> None:
        """Close the way out of a sandbox that has ended, if it has one."""
        self._expected.pop(sandbox_id, None)
        opened = self._open.pop(sandbox_id, None)
        if opened is not None:
            for sock in opened.sockets:
                sock.close()
            self._tasks.start(self._tell_closed(sandbox_id), "close-outlet")

    async def _tell_closed(self, sandbox_id: str) -> None:
        with contextlib.suppress(RuntimeFailedError):
            async with self._lock:
                await self._send({"op": "close", "id": sandbox_id}, [])

    # -- the process

    async def _tell(self, op: str, sandbox_id: str) -> None:
        """Tell the process of one way out; all of them to one that has just begun."""
        if self._socket is None:
            await self._start()
            for known in self._open:
                await self._tell_of("open", known)
        else:
            await self._tell_of(op, sandbox_id)

    async def _tell_of(self, op: str, sandbox_id: str) -> None:
        opened = self._open.get(sandbox_id)
        if opened is not None:  # it has not ended meanwhile
            message = {"op": op, "id": sandbox_id, "policy": opened.policy.as_fields()}
            await self._send(message, opened.sockets if op == "open" else [])

    async def _send(self, message: dict[str, Any], sockets: list[socket.socket]) -> None:
        if self._socket is None:
            return
        self._count = (self._count + 1) % (1 << 32)
        data = json.dumps({**message, "number": self._count}).encode()
        loop, sock = asyncio.get_running_loop(), self._socket
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                # All before was answered, so there is room for one byte.
                socket.send_fds(sock, [b"+"], [one.fileno() for one in sockets])
                await loop.sock_sendall(sock, len(data).to_bytes(4, "big") + data)
                answer = await loop.sock_recv(sock, 4)
        except OSError as error:
            raise RuntimeFailedError(f"the network of sandboxes does not answer: {error}") from None
        if answer != self._count.to_bytes(4, "big"):
            raise RuntimeFailedError("the network of sandboxes has just ended")

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "volantd.egress", "--daemon-fd", str(theirs.fileno()),
            pass_fds=(theirs.fileno(),), stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        self._socket = ours
        log.info("egress_started", extra={"fields": {"pid": process.pid}})
        self._tasks.start(self._keep(process, ours), "keep-egress")

    async def _keep(self, process: asyncio.subprocess.Process, sock: socket.socket) -> None:
        """Replace the process when it dies, if somebody needs it."""
        try:
            status = await process.wait()
        finally:
            sock.close()  # which ends it, if it has not
        self._socket = None
        log.error("egress_lost", extra={"fields": {"status": status}})
        pause_s = RESTART_S
        while self._open and self._socket is None:
            again = asyncio.Event()
            asyncio.get_running_loop().call_later(pause_s, again.set)
            await again.wait()
            pause_s = min(2 * pause_s, RESTART_S_MAX)
            with contextlib.suppress(RuntimeFailedError, OSError):
                async with self._lock:
                    if self._socket is None:
                        await self._tell("open", "")


def _trusting() -> dict[str, str]:
    """Variables by which programs trust an authority whose certificate was written."""
    bundled = dict.fromkeys(_BUNDLE_VARIABLES, BUNDLE)
    return {**bundled, **dict.fromkeys(_CERTIFICATE_VARIABLES, CERTIFICATE)}


def _group_of(container: ForkedContainer) -> str:
    """The directory of the control group of a container, by which its packets are known.

    Raises:
        RuntimeFailedError: it has none of version 2.
    """
    directories = container.place.cgroup.directories if container.place is not None else {}
    if "unified" not in directories:
        raise RuntimeFailedError(
            "this daemon has no control groups of version 2, by which a sidecar's connections are "
            "told from its sandbox's"
        )
    return directories["unified"]


def _certified(policy: Policy, authority: Authority | None) -> Policy:
    """A policy whose replacements can be carried out."""
    if authority is None:
        return policy
    made = []
    for one in policy.replacements:
        chain, key = authority.issue(one.domain)
        made.append(replace(one, chain=chain, key=key))
    return replace(policy, replacements=tuple(made))
