"""Sockets on which containers answer to the web: made here, listened on there.

    <run>/web/<container>.<method>.sock ──► the gateway connects
                          descriptor    ──► the container accepts

Requests find their container by a path that the container never sees: it gets the listening
descriptor, and is told no address by it, because the socket is bound through a descriptor as well.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from volantd.agent.ports.tunnels import SHARED_NOTICE
from volantd.hub.web.checked import forms_of
from volantd.runtime.client import RuntimeFailedError
from volantd.runtime.containers.forked import SHARED_ADDRESS

if TYPE_CHECKING:
    from volantd.agent.bare import Machine
    from volantd.hub.link import ContainerLink
    from volantd.hub.records import Function

#: Connections of one container that wait to be accepted.
BACKLOG = 1024


class Listeners:
    """The sockets of one container, one for each method of its function that answers to the web."""

    def __init__(self, container_id: str) -> None:
        self._directory = ""
        self._name = container_id
        self._waiting: dict[int, socket.socket] = {}
        #: Methods whose socket has a path.
        self._bound: list[int] = []

    def open(self, machine: Machine, function: Function) -> None:
        """Make them, or none for a function that does not answer to the web.

        Raises:
            RuntimeFailedError: when that cannot be done.
        """
        methods = list(forms_of(function.spec))
        if not methods:
            return
        self._directory = os.path.join(machine.launcher.run_dir, "web")
        try:
            self._make(methods)
        except OSError as error:
            self.close()
            raise RuntimeFailedError(f"it cannot be listened for requests: {error}") from error

    def path(self, method: int) -> str:
        """Where requests for a method are taken.

        Raises:
            KeyError: for a method that takes none.
        """
        if method not in self._bound:
            raise KeyError(method)
        return os.path.join(self._directory, self._file(method))

    def hand_over(self, link: ContainerLink, address: str) -> None:
        """Give the container what it is to accept on; comes ahead of START.

        Args:
            link: the container.
            address: where its ports are bound.
        """
        if address == SHARED_ADDRESS:
            _tell_of_sharing(link)
        while self._waiting:
            method, listener = self._waiting.popitem()
            link.hand_over(method, listener.detach())

    def close(self) -> None:
        """Remove the paths, and close what was not handed over."""
        for listener in self._waiting.values():
            listener.close()
        self._waiting.clear()
        for method in self._bound:
            with contextlib.suppress(FileNotFoundError):  # the run of the launcher has ended
                os.unlink(os.path.join(self._directory, self._file(method)))
        self._bound.clear()

    def _make(self, methods: list[int]) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for method in methods:
                self._waiting[method] = listener = socket.socket(socket.AF_UNIX)
                listener.bind(f"/proc/self/fd/{directory}/{self._file(method)}")
                self._bound.append(method)
                os.chmod(self.path(method), 0o600)
                listener.listen(BACKLOG)
        finally:
            os.close(directory)

    def _file(self, method: int) -> str:
        return f"{self._name}.{method}.sock"


def _tell_of_sharing(link: ContainerLink) -> None:
    """Say that a second server of the same port will not work, if this container is to have one."""
    function = link.function
    session = function.app.session
    has_port = any(form["port"] is not None for form in forms_of(function.spec).values())
    functions = [one.function.function_id for one in link.hub.links.values()]
    has_others = functions.count(function.function_id) > 1
    if has_port and has_others and session is not None:
        session.event("notice", text=SHARED_NOTICE)
