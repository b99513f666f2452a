"""The way out of one sandbox: its listeners, its policy, and the connections that it has."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

from volantd.egress import dialing, names
from volantd.egress.passage import Passage, reset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volantd.egress.policy import Policy, Replacement

#: Connections of one sandbox, and questions for names that are being answered; more are reset.
CONNECTIONS_MAX = 256
QUESTIONS_MAX = 64
#: Connections that wait to be accepted.
BACKLOG = 128


class Outlet:
    """One sandbox's way out.

    Attributes:
        policy: whom it may reach now.
        outside: what it leads to.
        trust: whose certificates are believed outside.
    """

    def __init__(
        self, policy: Policy, sockets: Sequence[socket.socket], *,
        trust: ssl.SSLContext, outside: dialing.Outside | None = None,
    ) -> None:  # fmt: skip
        """`sockets`: listeners for connections, and datagram sockets for questions; owned."""
        self.policy = policy
        self.outside = dialing.Outside() if outside is None else outside
        self.trust = trust
        self._loop = asyncio.get_running_loop()
        self._passages: dict[asyncio.Task[None], Passage] = {}
        self._questions: set[asyncio.Task[None]] = set()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._sockets = list(sockets)
        for sock in sockets:
            sock.setblocking(False)
            is_listener = sock.type == socket.SOCK_STREAM
            self._loop.add_reader(sock, self._accept if is_listener else self._asked, sock)

    def change(self, policy: Policy) -> None:
        """Apply another policy; connections that it does not allow end."""
        self.policy = policy
        self._contexts.clear()
        for passage in self._passages.values():
            passage.review(policy)

    def close(self) -> None:
        """Close it, and all connections."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        for task in (*self._passages, *self._questions):
            task.cancel()

    # -- what passages need

    def standing_in(self, replacement: Replacement) -> ssl.SSLContext:
        """What speaks TLS in a domain's place."""
        context = self._contexts.get(replacement.domain)
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            _load(context, (replacement.chain + replacement.key).encode())
            self._contexts[replacement.domain] = context
        return context

    async def answer(self, data: bytes) -> bytes | None:
        """The answer to a question for a name; None for what is no question."""
        question = names.read(data)
        if question is None:
            return None
        policy = self.policy
        if question.name is None or question.kind not in (names.A, names.AAAA):
            return names.answer(question, names.REFUSED)
        if policy.looks_up:
            try:
                found = await self.outside.look_up(question.name)
            except TimeoutError:
                return names.answer(question, names.SERVER_FAILURE)
            except (OSError, UnicodeError):
                return names.answer(question, names.NO_NAME)
            return names.answer(question, names.NO_ERROR, dict.fromkeys(found))
        if policy.names(question.name):
            return names.answer(question, names.NO_ERROR, [names.STAND_IN])
        return names.answer(question, names.REFUSED)

    # -- what comes in

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return  # it has gone again; or there are no descriptors, and the next turn tries anew
        sock.setblocking(False)
        if len(self._passages) >= CONNECTIONS_MAX:
            reset(sock)
            return
        try:
            passage = Passage(self, sock)
        except OSError:
            reset(sock)
            return
        task = passage.start()
        self._passages[task] = passage
        task.add_done_callback(self._passages.pop)

    def _asked(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            data, sender = sock.recvfrom(names.QUESTION_BYTES_MAX + 1)
            if len(self._questions) < QUESTIONS_MAX:
                task = asyncio.ensure_future(self._reply(sock, data, sender))
                self._questions.add(task)
                task.add_done_callback(self._questions.discard)

    async def _reply(self, sock: socket.socket, data: bytes, sender: Any) -> None:
        answer = await self.answer(data)
        if answer is not None:
            with contextlib.suppress(OSError):
                sock.sendto(answer, sender)


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Have a context use a certificate and its key, which are on no disk."""
    with open(os.memfd_create("certificate"), "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
