"""Values as the database keeps them: encrypted, and bound to the row that they are in.

    mark(3) │ id of the key(8) │ nonce(12) │ AES-256-GCM of the value, tag(16) at its end

Each place has a key of its own, made of the sealing key and the place's name, which is also part
of what the tag covers. So a value that is moved to another row, or changed by a single bit, cannot
be opened there; and no number of values wears one key out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING

from volantd.sealing.keyring import ID_BYTES, Keyring

if TYPE_CHECKING:
    from volantd.sealing.keyring import SealingKey

#: What sealed values begin with. No description in clear does: msgpack's maps begin otherwise.
MARK = b"\x00s1"
NONCE_BYTES = 12
TAG_BYTES = 16
_HEAD_BYTES = len(MARK) + ID_BYTES + NONCE_BYTES


class SealBrokenError(ValueError):
    """A sealed value is not what was sealed for its place."""


class Sealer:
    """Seals and opens values with the keys of a home. May be used on any thread.

    Args:
        keyring: the keys; the first is made when something is sealed.
    """

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring

    def seal(self, place: str, value: bytes) -> bytes:
        """Encrypt a value for one place, such as `versions.description/ap-1/3`.

        Raises:
            PermissionDeniedError: when others can read the key.
            DataLossError: when the file of the key is damaged.
            OSError: when a first key cannot be written.
        """
        return sealed_with(self.keyring.current(), place, value)

    def open(self, place: str, sealed: bytes) -> bytes:
        """What was sealed for a place.

        Raises:
            SealBrokenError: when that is something else.
            DataLossError: when the key is not there.
            PermissionDeniedError: when others can read it.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self.keyring.find(key_id_of(sealed))
        head, body = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES:]
        nonce, bound = head[-NONCE_BYTES:], _bound(head, place)
        try:
            return AESGCM(_key_of(key, place)).decrypt(nonce, body, bound)
        except InvalidTag:
            raise SealBrokenError(f"what is kept at {place} was not sealed for it") from None

    def opened(self, place: str, sealed: bytes | None) -> bytes | None:
        """`open`, for what may not be there."""
        return None if sealed is None else self.open(place, sealed)

    def later(self, place: str, value: bytes) -> Unsealed:
        """A value that is sealed by whoever writes it, with the key of that moment."""
        return Unsealed(self, place, value)


class Unsealed:
    """A value on its way to the database."""

    __slots__ = ("_place", "_sealer", "_value")

    def __init__(self, sealer: Sealer, place: str, value: bytes) -> None:
        self._sealer = sealer
        self._place = place
        self._value = value

    def sealed(self) -> bytes:
        """The value, sealed; raises as `Sealer.seal`."""
        return self._sealer.seal(self._place, self._value)


def place_of(column: str, *row: object) -> str:
    """The name of the place of a value: its column, and what tells its row from others."""
    return "/".join((column, *map(str, row)))


def sealed_with(key: SealingKey, place: str, value: bytes) -> bytes:
    """A value, sealed with one key for one place."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(NONCE_BYTES)
    head = MARK + bytes.fromhex(key.key_id) + nonce
    return head + AESGCM(_key_of(key, place)).encrypt(nonce, value, _bound(head, place))


def key_id_of(sealed: bytes) -> str:
    """The id of the key that a value was sealed with.

    Raises:
        SealBrokenError: for what is no sealed value.
    """
    if not sealed.startswith(MARK) or len(sealed) < _HEAD_BYTES + TAG_BYTES:
        raise SealBrokenError("what is kept is not sealed")
    return sealed[len(MARK) : len(MARK) + ID_BYTES].hex()


def _key_of(key: SealingKey, place: str) -> bytes:
    return hmac.digest(key.raw, place.encode(), hashlib.sha256)


def _bound(head: bytes, place: str) -> bytes:
    """What the tag covers beside the value: the key that is named, and the place."""
    return head[:-NONCE_BYTES] + place.encode()
