"""Which files an app is made of, and whether a change of one means that it has to be loaded anew.

Directories are watched and not files, because many editors write a new file and give it the old
one's name. A path that is a link is watched where the link lies and where it leads.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from volant.cli.live.inotify import DirectoryWatch

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Files that editors write beside those that they edit.
_ASIDE = ("~", ".swp", ".swx", ".tmp", ".bak")


class SourceWatch:
    """Watches the local files of one app; more become known with each time that it is loaded."""

    def __init__(self) -> None:
        """Watch nothing yet.

        Raises:
            OSError: when the user has too many watches already.
        """
        self._watch = DirectoryWatch()
        self._known: set[str] = set()
        #: Directories of which a new Python source counts, and those of which any file does.
        self._source_directories: set[str] = set()
        self._attached_directories: set[str] = set()
        #: Directories that are not there, as they are wanted.
        self._absent: set[str] = set()

    def fileno(self) -> int:
        """The descriptor that becomes readable when something changes."""
        return self._watch.fd

    def add(self, sources: Iterable[str], attached: Iterable[str] = ()) -> bool:
        """Watch files; True when directories are among them that were not watched before.

        Args:
            sources: Python sources, absolute.
            attached: other files that containers get, absolute.

        Raises:
            OSError: when the user may watch no more directories.
        """
        before = len(self._source_directories) + len(self._attached_directories)
        for paths, directories in (
            (sources, self._source_directories), (attached, self._attached_directories),
        ):  # fmt: skip
            for path in paths:
                for one in {path, os.path.realpath(path)}:
                    self._known.add(one)
                    directories.add(os.path.dirname(one))
        # Those that were there may be others by now, which costs little to find out.
        self._absent.clear()
        for directory in self._source_directories | self._attached_directories:
            self._add(directory)
        return len(self._source_directories) + len(self._attached_directories) > before

    def _add(self, directory: str) -> None:
        while not self._watch.add(directory) and directory != os.path.dirname(directory):
            self._absent.add(directory)
            directory = os.path.dirname(directory)

    def has_changed(self) -> bool:
        """Whether one of the files has changed, or might have, since the last time."""
        changed = self._watch.read()
        return changed is None or any(map(self._counts, changed))

    def _counts(self, path: str) -> bool:
        if path in self._known or path in self._absent:
            return True
        directory, name = os.path.split(path)
        if path in self._source_directories or path in self._attached_directories:
            return not os.path.isdir(path)  # gone, and with it what lay in it
        if name.startswith(".") or name.endswith(_ASIDE):
            return False
        if directory in self._attached_directories:
            return True
        return name.endswith(".py") and directory in self._source_directories

    def close(self) -> None:
        """Watch nothing any more."""
        self._watch.close()
