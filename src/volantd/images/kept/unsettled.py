"""Whether a power cut could take away a part of what a store has: layers are not synced one by one.

    note() ─► a file that names a period ─► layers of it, caches ─► settle(): all synced ─► no file

Syncing each file of a layer would take longer than making it. So a store that finds the file after
another start of the machine trusts nothing of that period, and what is lost is made again.
"""

from __future__ import annotations

import os
import secrets
from threading import Lock

from volantd import syncing

FILE_NAME = "unsettled"
#: Bytes of the file that are read: the ids of a boot and a period.
_BYTES_MAX = 200
_PERIOD_BYTES = 8


class Unsettled:
    """What of one store may not be on the disk yet. Its methods may run on any thread."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._path = os.path.join(root, FILE_NAME)
        self._lock = Lock()
        #: "" while all is on the disk.
        self._period = ""
        self._count = 0

    def lost(self) -> str:
        """The period that the machine ended before all of it was on the disk, "" if there is none.

        To be called first of all.

        Raises:
            OSError: when that cannot be read.
        """
        try:
            with open(self._path, "rb") as file:
                boot, _, period = file.read(_BYTES_MAX).decode("ascii", "replace").partition(" ")
        except FileNotFoundError:
            return ""
        self._period = period
        return "" if boot == syncing.boot() else period

    def note(self) -> str:
        """Say that something is about to be written, or was just now; in which period that is.

        Raises:
            OSError: when that cannot be noted.
        """
        with self._lock:
            self._count += 1
            if not self._period:
                period = secrets.token_hex(_PERIOD_BYTES)
                syncing.replace(self._path, f"{syncing.boot()} {period}".encode())
                self._period = period
            return self._period

    def settle(self) -> None:
        """Put all on the disk; to be called when nothing is being written. Takes a while.

        Raises:
            OSError: when it cannot be put there.
        """
        with self._lock:
            if not self._period:
                return
            count = self._count
        syncing.sync_file_system(self._root)
        with self._lock:
            if count == self._count:  # else something has been begun meanwhile
                os.unlink(self._path)
                syncing.sync(self._root)
                self._period = ""
