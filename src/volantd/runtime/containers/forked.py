"""A container that was forked: its process, and our ends of its sockets and pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

from volant.runner import linux

if TYPE_CHECKING:
    from volantd.runtime.seat import Place

#: Where ports are bound of containers that have none of their own.
SHARED_ADDRESS = "127.0.0.1"


class ForkedContainer:
    """A fully isolated process that waits for START on its channel.

    Attributes:
        container_id: as given.
        pid: its pid on the host.
        channel: our end of the channel (non-blocking stream socket); the caller's to close.
        sdk: our end of the SDK channel (non-blocking); the caller's to close.
        stdout_fd, stderr_fd: read ends (non-blocking); the caller's to close.
        exited: the wait status, once it has exited.
        scratch_path: where on the host lies what it writes.
        address: where this machine reaches its ports; "" if only its own network does.
        place: its cgroup; the caller removes that after the exit. None where there are none.
    """

    def __init__(
        self, container_id: str, ends: Ends, exited: asyncio.Future[int], place: Place | None
    ) -> None:
        self.container_id = container_id
        self.pid = 0
        self.channel = ends.channel
        self.sdk = ends.sdk
        self.stdout_fd = ends.stdout_fd
        self.stderr_fd = ends.stderr_fd
        self.exited = exited
        self._pidfd = -1
        self.scratch_path = ""
        self.address = ""
        self.place = place

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal; nothing happens when it has exited."""
        if self.exited.done() or self._pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            linux.pidfd_send_signal(self._pidfd, signal_number)

    def identify(self, pid: int) -> None:
        """Take its pid on the host, which it has said itself by the kernel's word."""
        self.pid = pid
        with contextlib.suppress(OSError):
            self._pidfd = linux.pidfd_open(pid)

    def forget(self) -> None:
        """Let go of its process, which has exited."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class Ends:
    """The sockets and pipes of one container: ours to keep, the child's to send."""

    def __init__(self) -> None:
        self.channel, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sdk, sdk = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.stdout_fd, stdout = os.pipe2(os.O_CLOEXEC)
        self.stderr_fd, stderr = os.pipe2(os.O_CLOEXEC)
        self.channel.setblocking(False)
        self.sdk.setblocking(False)
        os.set_blocking(self.stdout_fd, False)
        os.set_blocking(self.stderr_fd, False)
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.child_fds = [channel.detach(), sdk.detach(), stdout, stderr]

    def close_ours(self) -> None:
        """Close what would have been handed over."""
        self.channel.close()
        self.sdk.close()
        os.close(self.stdout_fd)
        os.close(self.stderr_fd)
