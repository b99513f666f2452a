"""The daemon's own log: JSON lines in a file that is bounded, with one older file beside it.

    record ──► daemon.log ──(too long)──► renamed to daemon.log.1, and a new daemon.log
                  ▲ what Python itself prints: descriptors 1 and 2 are turned to the new file

Owns both files. Whoever follows the log sees by the file's identity that it was renamed, reads the
old one to its end and goes on with the new. The launcher keeps the file that it was started with;
it prints only when something cannot be removed.
"""

from __future__ import annotations

import json
import logging
import os
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import TextIOWrapper

#: Bytes of one file; there are at most two.
BYTES_MAX = 4 << 20
_RAW_FDS = (1, 2)


class JsonLines(logging.Formatter):
    """One JSON object a line: a constant event name and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": record.created, "level": record.levelname.lower(),
            "event": record.getMessage(), **getattr(record, "fields", {}),
        }  # fmt: skip
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


class BoundedFile(RotatingFileHandler):
    """Writes to a file for its owner's eyes, and takes raw output along when it is renamed."""

    def __init__(
        self, path: str, bytes_max: int = BYTES_MAX, raw_fds: tuple[int, ...] = _RAW_FDS
    ) -> None:
        """`raw_fds`: descriptors that are made to write to the same file."""
        self._raw_fds = raw_fds
        super().__init__(path, maxBytes=bytes_max, backupCount=1, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self.baseFilename, flags, 0o600)
        for raw_fd in self._raw_fds:
            os.dup2(fd, raw_fd)
        return open(fd, "a", encoding=self.encoding)


def begin(path: str | None) -> None:
    """Log to a file, or to standard error where a person looks at it (None)."""
    handler = logging.StreamHandler() if path is None else BoundedFile(path)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
