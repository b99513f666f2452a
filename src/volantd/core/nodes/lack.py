"""What keeps a waiting pool waiting."""

from __future__ import annotations

from enum import Enum, auto


class Lack(Enum):
    """What a waiting pool was found to lack."""

    #: Nobody has looked, or things have changed.
    UNKNOWN = auto()
    #: Memory, or places for containers.
    MEMORY = auto()
    GPUS = auto()
    #: Nothing, but that who lacks memory comes first, and may not be passed.
    TURN = auto()
