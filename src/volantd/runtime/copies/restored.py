"""The program of a sandbox that was not started but restored, as the agent sees it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from struct import pack_into, unpack_from
from typing import TYPE_CHECKING

from volant.runner import linux

if TYPE_CHECKING:
    from volantd.runtime.sandboxes.holder import RunSpec

#: Asks a descriptor of a process for what is known of it; tells its status since Linux 6.15.
_GET_INFO, _INFO_BYTES = 0xC040FF0B, 64
_EXIT, _EXIT_AT = 1 << 3, 60


class RestoredProgram:
    """A process that is no child of ours nor of who holds the sandbox, but of its init.

    Attributes:
        spec: what was run once.
        fds: our ends of its stdin, stdout and stderr; the caller's to close.
        exited: its wait status; SIGKILL where this kernel does not tell.
        was_cut_off: whether that is so.
    """

    def __init__(self, pid: int, spec: RunSpec, fds: list[int]) -> None:
        """Watch a process.

        Raises:
            OSError: it has ended.
        """
        self.spec = spec
        self.fds = fds
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.was_cut_off = False
        self._pidfd = linux.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_ended)

    def _on_ended(self) -> None:
        if self._is_there():
            return  # its init is about to take its status, which is told then: this is called again
        info = bytearray(_INFO_BYTES)
        pack_into("=Q", info, 0, _EXIT)
        told = False
        with contextlib.suppress(OSError):  # this kernel knows no such question
            fcntl.ioctl(self._pidfd, _GET_INFO, info)
            told = bool(unpack_from("=Q", info)[0] & _EXIT)
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.was_cut_off = not told
        self.exited.set_result(unpack_from("=i", info, _EXIT_AT)[0] if told else signal.SIGKILL)

    def _is_there(self) -> bool:
        try:
            linux.pidfd_send_signal(self._pidfd, 0)
        except ProcessLookupError:
            return False
        return True
