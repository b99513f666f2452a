"""A private VOLANT_HOME, and the daemon that a first use starts in it. Ended by its pid."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_STOP_WITHIN_S = 15.0


class Home:
    """One home directory of Volant."""

    def __init__(self, path: Path, **settings: object) -> None:
        """Make it.

        Args:
            path: a directory that does not exist yet.
            settings: settings of Volant other than their defaults, by name.
        """
        self.path = path
        self.settings = settings
        path.mkdir(mode=0o700)

    def environment(self) -> dict[str, str]:
        """The environment of a client that uses this home and nothing else of the caller's."""
        environ = {key: value for key, value in os.environ.items() if not _is_ours(key)}
        environ["VOLANT_HOME"] = str(self.path)
        for name, value in self.settings.items():
            environ[f"VOLANT_{name.upper()}"] = str(value)
        return environ

    def daemon_pid(self) -> int | None:
        """The process that listens here, or None when nobody does."""
        directory = os.open(self.path, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as client:
                # A socket's address holds 107 bytes; this way a long path fits.
                client.connect(f"/proc/self/fd/{directory}/daemon.sock")
                credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        finally:
            os.close(directory)
        return int(struct.unpack("3i", credentials)[0])

    def stop(self) -> None:
        """End the daemon, if there is one, and wait until it is gone."""
        pid = self.daemon_pid()
        if pid is None:
            return
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(handle, number)
                if select.select([handle], [], [], _STOP_WITHIN_S)[0]:
                    return
            raise AssertionError(f"the daemon {pid} survives SIGKILL")
        except ProcessLookupError:
            return
        finally:
            os.close(handle)


def _is_ours(key: str) -> bool:
    return key.startswith("VOLANT_") or key in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
