"""Which sandboxes there were, in a file, so that the next daemon can say how each has ended.

    created, changed, finished ─► a line each ─► read by the next daemon: what has no end was
                                                 ended with the one before

Nothing of a sandbox outlives its daemon, so these lines are all there is, and losing the last of
them in a power cut does no harm: they are appended without waiting for the disk.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from volantd.hub.sandboxes.record import Sandbox

log = logging.getLogger(__name__)

#: Lines beyond which the file is written anew with what is still known.
LINES_MAX = 10_000
#: Bytes of such a file that are read.
FILE_BYTES_MAX = 64 << 20
#: Of a sandbox's program, words that are kept and characters of each.
WORDS_KEPT, WORD_CHARS_KEPT = 20, 200


class Ledger:
    """The file of one home."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0

    def read(self) -> list[dict[str, Any]]:
        """The last rows of all sandboxes, the oldest first; what is no row is left out."""
        rows: dict[str, dict[str, Any]] = {}
        try:
            with open(self._path, "rb") as file:
                content = file.read(FILE_BYTES_MAX)
        except FileNotFoundError:
            return []
        for line in content.splitlines():
            try:
                row = json.loads(line)
                rows[row["sandbox_id"]] = row
            except (ValueError, KeyError, TypeError):
                continue  # the last line of a daemon that was killed
        return list(rows.values())

    def begin(self, known: list[Sandbox]) -> None:
        """Write the file anew with these alone."""
        self._count = len(known)
        try:
            self._append(f"{self._path}.new", known, os.O_TRUNC)
            os.replace(f"{self._path}.new", self._path)
        except OSError as error:
            _note_loss(error)

    def note(self, sandbox: Sandbox, known: list[Sandbox]) -> None:
        """Write what is known of a sandbox now; `known`: all that are to be remembered."""
        self._count += 1
        if self._count > LINES_MAX:
            self.begin(known)
        try:
            self._append(self._path, [sandbox], os.O_APPEND)
        except OSError as error:
            _note_loss(error)

    @staticmethod
    def _append(path: str, sandboxes: list[Sandbox], flag: int) -> None:
        lines = b"".join(map(_line, sandboxes))
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | flag, 0o600)
        try:
            os.write(fd, lines)
        finally:
            os.close(fd)


def _line(sandbox: Sandbox) -> bytes:
    row = sandbox.row()
    row["leaves_image"] = sandbox.leaves_image
    row["environment_id"] = sandbox.app.environment.environment_id
    row["argv"] = [word[:WORD_CHARS_KEPT] for word in row["argv"][:WORDS_KEPT]]
    return json.dumps(row).encode() + b"\n"


def _note_loss(error: OSError) -> None:
    log.warning("sandbox_not_noted", extra={"fields": {"error": str(error)}})
