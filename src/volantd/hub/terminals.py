"""Requests for terminals: commands in containers, shells, and containers joined to a terminal.

    client --container_exec--> agent runs it --descriptors by RESULT--> client, which copies bytes
           --command_interrupt: Ctrl-C, where no terminal passes it on-->
           <--REPLY with the wait status, when it has ended--

    client --terminal_offer--> its desk:   container --terminal_join--> waits for its turn there
           <--descriptors by RESULT--                <--REPLY: it is joined--
                                           container --terminal_left--> the next one's turn

What is typed and written never passes through the hub: it hands out descriptors. A terminal that
a client offers is not given away; the client copies between it and the one of the container.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from volant.errors import InvalidError, NotFoundError
from volant.wire import frames
from volantd.descriptors import is_leader
from volantd.fields import mapping, optional, sequence, text, whole

if TYPE_CHECKING:
    from volantd.hub.records import Function
    from volantd.hub.session import Session

#: Words of a command, and characters of all of them; the same for its variables.
WORDS_MAX = 10_000
WORDS_CHARS_MAX = 1 << 17
#: Rows and columns of a terminal.
SIDE_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A command that a client wants to be run; `terminal` is rows and columns, None for pipes."""

    argv: tuple[str, ...]
    env: dict[str, str]
    terminal: tuple[int, int] | None


class Commanded(Protocol):
    """A command that runs for a client."""

    def interrupt(self) -> None:
        """Signal it as Ctrl-C does."""

    def hang_up(self) -> None:
        """End it: its client is gone."""


def container_exec(session: Session, message: dict[str, Any]) -> None:
    """Run a command in a container; answered when it has ended."""
    wanted = text(message, "container")
    session.hub.services.agent.commands.run_in(session, message["id"], wanted, _wish(message))


def function_shell(session: Session, message: dict[str, Any]) -> None:
    """Run a command in a fresh container of a function, which ends with it."""
    function = session.functions.get(whole(message, "function"))
    if function is None:
        raise NotFoundError("this client runs no such function")
    session.hub.services.agent.commands.run_fresh(session, message["id"], function, _wish(message))


def command_interrupt(session: Session, event: dict[str, Any]) -> None:
    """Signal a command; one that has ended, or was never there, is none to be signalled."""
    command = session.commands.get(whole(event, "command"))
    if command is not None:
        command.interrupt()


def _wish(message: dict[str, Any]) -> Wish:
    argv, env = sequence(message, "argv"), _variables(message)
    if not argv or not argv[0]:
        raise ValueError("a command without a program")
    _check_words(argv)
    return Wish(argv=tuple(argv), env=env, terminal=_size(message, "terminal"))


def _variables(message: dict[str, Any]) -> dict[str, str]:
    env = mapping(message, "env")
    _check_words([*env, *env.values()])
    if any(not name or "=" in name for name in env):
        raise ValueError("a variable cannot have that name")
    return env


def _check_words(words: list[Any]) -> None:
    if len(words) > WORDS_MAX:
        raise InvalidError(f"a command of {len(words)} words, at most {WORDS_MAX}")
    for word in words:
        if not isinstance(word, str) or "\0" in word:
            raise ValueError("a word of a command is no text")
    if sum(map(len, words)) > WORDS_CHARS_MAX:
        raise InvalidError(f"a command may have {WORDS_CHARS_MAX} characters in all")


def _size(message: dict[str, Any], name: str) -> tuple[int, int] | None:
    """Rows and columns, or None for no terminal."""
    optional(sequence, message, name)
    if message[name] is None:
        return None
    fields = dict(zip(("rows", "columns"), message[name], strict=True))
    return whole(fields, "rows", 0, SIDE_MAX), whole(fields, "columns", 0, SIDE_MAX)


def send_descriptors(session: Session, number: int, fds: list[int]) -> None:
    """Hand descriptors to whoever made a request; takes ownership of them."""
    for index, fd in enumerate(fds):
        frame = frames.hot(frames.RESULT, frames.HAS_FD, number, index, 0, 0, b"")
        session.peer.write(frame, fd)
    fds.clear()


# -- terminals that containers are joined to


class Visit:
    """One container that is joined to a terminal, or waits for its turn."""

    def __init__(self, session: Session, number: int, leader: int) -> None:
        self.session = session
        self.number = number
        self.leader = leader
        #: Held open as long as it is joined; the client holds the other end.
        self.lifeline = -1

    def close(self) -> None:
        """Let go of it."""
        for fd in (self.leader, self.lifeline):
            if fd >= 0:
                os.close(fd)
        self.leader = self.lifeline = -1


class Desk:
    """The terminal of one client: a container at a time."""

    def __init__(
        self, session: Session, number: int, size: tuple[int, int], env: dict[str, str]
    ) -> None:
        """`env`: variables that say what kind of terminal it is."""
        self._session = session
        self._number = number
        self._size = size
        self._env = env
        self._visits: deque[Visit] = deque()

    def add(self, visit: Visit) -> None:
        """Join a container, now or when it is its turn."""
        self._visits.append(visit)
        if len(self._visits) == 1:
            self._join(visit)

    def has(self, session: Session) -> bool:
        """Whether a container is joined, or waits."""
        return any(visit.session is session for visit in self._visits)

    def leave(self, session: Session) -> None:
        """Note that a container has left, or is gone; then it is the next one's turn."""
        for visit in [one for one in self._visits if one.session is session]:
            was_first = visit is self._visits[0]
            self._visits.remove(visit)
            visit.close()
            if was_first and self._visits:
                self._join(self._visits[0])

    def close(self) -> None:
        """End every visit: the client is gone."""
        for visit in self._visits:
            visit.close()
        self._visits.clear()

    def _join(self, visit: Visit) -> None:
        size = struct.pack("HHHH", *self._size, 0, 0)
        with contextlib.suppress(OSError):  # its other end may have been closed
            fcntl.ioctl(visit.leader, termios.TIOCSWINSZ, size)
        there, visit.lifeline = os.pipe2(os.O_CLOEXEC)
        leader, visit.leader = visit.leader, -1
        send_descriptors(self._session, self._number, [there, leader])
        visit.session.reply(visit.number, {"env": self._env})


def terminal_offer(session: Session, message: dict[str, Any]) -> None:
    """Take a client's terminal, for containers of its apps; never answered but by descriptors."""
    size = _size(message, "size")
    if size is None or session.desk is not None:
        raise ValueError("one terminal a client")
    session.desk = Desk(session, whole(message, "id"), size, _variables(message))


def terminal_join(session: Session, message: dict[str, Any]) -> None:
    """Join a container to its client's terminal; answered when that is done.

    The leading end of a terminal of the container's own comes with the request; one that may open
    none gets an end of one of the host's.
    """
    leader, session.request_fd = session.request_fd, None
    visit = Visit(session, whole(message, "id"), -1 if leader is None else leader)
    desk = _desk_of(session.container_function)
    try:
        if leader is not None and not is_leader(leader):
            raise ValueError("a descriptor that is no terminal's")
        if desk is None:
            raise InvalidError(
                "a breakpoint or `interact()` needs a terminal, and this program runs without one",
                hint="`volant run -i` joins yours to the containers",
            )
        if desk.has(session):
            raise InvalidError("this container is joined to the terminal already")
        if leader is None:
            visit.leader, terminal = os.openpty()
            send_descriptors(session, visit.number, [terminal])
    except BaseException:
        visit.close()
        raise
    assert session.container_app is not None
    # What was printed before is shown before.
    session.hub.services.agent.drain_logs(session.container_app)
    desk.add(visit)


def terminal_left(session: Session) -> None:
    """Note that a container is not joined any more."""
    desk = _desk_of(session.container_function)
    if desk is not None:
        desk.leave(session)


def _desk_of(function: Function | None) -> Desk | None:
    if function is None or not function.app.interactive or function.app.session is None:
        return None
    return function.app.session.desk
