"""The command on a terminal of its own, as a person has it: read, typed on, resized."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
from time import monotonic
from typing import TYPE_CHECKING

from tests.screen import visible
from tests.support import VOLANT

if TYPE_CHECKING:
    from pathlib import Path


class OnTerminal:
    """A command on a terminal of its own."""

    def __init__(
        self, *words: object, home: Path, program: Path = VOLANT, **variables: str
    ) -> None:
        """Start `volant words...`, or another program."""
        environ = os.environ | {"VOLANT_HOME": str(home), "TERM": "xterm", "NO_COLOR": "1"}
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.execve(program, [str(program), *map(str, words)], {**environ, **variables})
        self.written = ""

    def read_until(self, pattern: str, within_s: float = 30.0) -> None:
        """Read until `pattern` is on it, or until it is closed if that is empty."""
        deadline = monotonic() + within_s
        while not (pattern and re.search(pattern, self.written)):
            left_s = deadline - monotonic()  # what turns on a screen is no sign of progress
            is_more = left_s > 0 and select.select([self._terminal], [], [], left_s)[0]
            assert is_more, self.written
            try:
                data = os.read(self._terminal, 65536)
            except OSError:  # how Linux says that nobody has it open any more
                data = b""
            if not data:
                assert not pattern, f"{pattern!r} never came in {self.written!r}"
                return
            self.written += data.decode("utf-8", "replace")

    def is_quiet_for(self, seconds: float) -> bool:
        """Whether nothing is written for a while."""
        return not select.select([self._terminal], [], [], seconds)[0]

    def resize(self, rows: int, columns: int) -> None:
        """Give its window another size."""
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def kill(self) -> None:
        """End it as nothing can be caught, unless it has ended."""
        if self._terminal < 0:
            return
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._close()

    def _close(self) -> None:
        os.close(self._terminal)
        self._terminal = -1

    def press(self, keys: bytes) -> None:
        """Type on it."""
        os.write(self._terminal, keys)

    def end(self) -> tuple[int, list[str]]:
        """Wait for its end; returns the exit code and the lines on the screen."""
        self.read_until("")
        _, status = os.waitpid(self.pid, 0)
        self._close()
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.written)
        return os.waitstatus_to_exitcode(status), visible(text)
