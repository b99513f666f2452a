"""How far a command is that copies many files, for whoever looks at a terminal."""

from __future__ import annotations

import sys

#: Between two lines of progress, so many files or bytes go by.
PROGRESS_FILES = 100
PROGRESS_BYTES = 16 << 20


class Progress:
    """A line on standard error that says how far it is, if a person sees it."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._is_shown = sys.stderr.isatty()
        self._told = (0, 0)
        self.files = self.size_bytes = 0

    def add(self, files: int, size_bytes: int) -> None:
        """Note that so many more files and bytes are done."""
        self.files += files
        self.size_bytes += size_bytes
        told_files, told_bytes = self._told
        goes_by = self.size_bytes - told_bytes > PROGRESS_BYTES
        if self._is_shown and (goes_by or self.files - told_files >= PROGRESS_FILES):
            self._told = self.files, self.size_bytes
            sys.stderr.write(f"\r{self._text()}")
            sys.stderr.flush()

    def _text(self) -> str:
        files = "1 file" if self.files == 1 else f"{self.files} files"
        return f"{self._verb} {files}, {self.size_bytes / (1 << 20):.1f} MiB"

    def end(self) -> None:
        """Say how much it was."""
        start = "\r" if self._is_shown else ""
        print(f"{start}{self._text()}", file=sys.stderr)
