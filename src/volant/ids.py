"""Ids: a two-letter prefix that tells the kind, then 26 characters of Crockford base 32.

ap app · fu function · fc call · in input · ta container · se session · di dict · qu queue ·
en environment · cu cluster
"""

from __future__ import annotations

import os

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_CHARS = frozenset(_ALPHABET)
_HEX = frozenset("0123456789abcdef")

#: Characters of a session that start the id of each of its calls; the rest is the number.
SESSION_CHARS = 16
#: Characters of a key by which a call is known.
KEY_CHARS_MAX = 500
_NUMBER_CHARS = 10
_ID_CHARS = 26


def new_id(prefix: str) -> str:
    """A fresh random id such as `ap-…`."""
    return f"{prefix}-{_base32(int.from_bytes(os.urandom(17), 'little'), _ID_CHARS)}"


def is_id(text: str, prefix: str) -> bool:
    """Whether this is an id that `new_id` could have made."""
    head, _, rest = text.partition("-")
    return head == prefix and len(rest) == _ID_CHARS and _CHARS.issuperset(rest)


def new_session() -> str:
    """Sixteen random characters: what the ids of one session's calls begin with."""
    return _base32(int.from_bytes(os.urandom(10), "little"), SESSION_CHARS)


def call_id(session: str, number: int) -> str:
    """The id of a session's `number`-th call, without asking anybody.

    Raises:
        ValueError: for a number that an id has no room for.
    """
    if not 0 <= number < 1 << 40:
        raise ValueError(f"{number} is not the number of a call")
    return f"{session}{number:010x}"


def keyed_call_id(meant: bytes) -> str:
    """The id of a call that is known by a key; `meant` says which function, and the key."""
    import hashlib

    digest = int.from_bytes(hashlib.sha256(meant).digest()[:15], "little")
    return call_id(_base32(digest >> 40, SESSION_CHARS), digest & ((1 << 40) - 1))


def check_session(session: str) -> None:
    """Make sure that this may be what the ids of a session's calls begin with.

    Raises:
        ValueError: if not.
    """
    if len(session) != SESSION_CHARS or not _CHARS.issuperset(session):
        raise ValueError(f"{session[:100]!r} is not the id of a session")


def split_call_id(call: str) -> tuple[str, int]:
    """Session and number of a call's id (with or without `fc-`).

    Raises:
        ValueError: if it is no such id.
    """
    bare = call.removeprefix("fc-")
    session, number = bare[:SESSION_CHARS], bare[SESSION_CHARS:]
    if (
        len(number) != _NUMBER_CHARS
        or not _HEX.issuperset(number)
        or not _CHARS.issuperset(session)
    ):
        raise ValueError(f"{call[:100]!r} is not the id of a call")
    return session, int(number, 16)


def _base32(number: int, chars: int) -> str:
    out = []
    for _ in range(chars):
        out.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(out))
