"""Ids: a two-letter prefix that tells the kind, then 26 characters of Crockford base 32.

    ap app · fu function · fc call · in input · ta container · se session
"""

from __future__ import annotations

import os

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_CHARS = frozenset(_ALPHABET)

#: Characters of a session that start the id of each of its calls; the rest is the number.
SESSION_CHARS = 16
_NUMBER_CHARS = 10


def new_id(prefix: str) -> str:
    """A fresh random id such as `ap-…`."""
    return f"{prefix}-{_base32(int.from_bytes(os.urandom(17), 'little'), 26)}"


def new_session() -> str:
    """Sixteen random characters: what the ids of one session's calls begin with."""
    return _base32(int.from_bytes(os.urandom(10), "little"), SESSION_CHARS)


def call_id(session: str, number: int) -> str:
    """The id of a session's `number`-th call, without asking anybody."""
    return f"{session}{number:010x}"


def split_call_id(call: str) -> tuple[str, int]:
    """Session and number of a call's id (with or without `fc-`).

    Raises:
        ValueError: if it is no such id.
    """
    bare = call.removeprefix("fc-")
    if len(bare) != SESSION_CHARS + _NUMBER_CHARS or not _CHARS.issuperset(bare):
        raise ValueError(f"{call!r} is not the id of a call")
    return bare[:SESSION_CHARS], int(bare[SESSION_CHARS:], 16)


def _base32(number: int, chars: int) -> str:
    out = []
    for _ in range(chars):
        out.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(out))
