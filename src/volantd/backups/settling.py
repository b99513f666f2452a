"""The last step of putting a backup in place, which a daemon does too if it was broken off.

It is looked for at every start, so nothing is imported here.
"""

from __future__ import annotations

import os

#: Directory of a home with files that are about to take the places of those in the home.
READY = "restored"
#: What becomes of a database, and of its keys, that give way; one such is kept.
REPLACED = ".replaced"
#: A file and its journals, in the order in which they are moved: where the file is, all are.
_PARTS = ("-wal", "-shm", "")


def settle(home: str) -> bool:
    """Put what lies ready in a home in its place; False when nothing does.

    To be called by who has the lock of the home. May be broken off anywhere, and done again.
    """
    ready = os.path.join(home, READY)
    if not os.path.isdir(ready):
        return False
    for name in sorted(os.listdir(ready)):
        place = os.path.join(home, name)
        if name.endswith((".db", ".key")):
            _move_aside(place)
        os.replace(os.path.join(ready, name), place)
    directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    os.rmdir(ready)
    return True


def _move_aside(place: str) -> None:
    """Make room for a file: a journal of an old database must never be taken for its own."""
    old = place + REPLACED
    if os.path.lexists(place) and os.path.lexists(old):  # of the time before
        for suffix in _PARTS:
            if os.path.lexists(old + suffix):
                os.unlink(old + suffix)
    for suffix in _PARTS:
        if os.path.lexists(place + suffix):
            os.replace(place + suffix, old + suffix)
