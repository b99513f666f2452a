"""Who may call a web function that requires a token: a key, and a secret known by its hash."""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volantd.gateway.heads import RequestHead

#: Fields that hold a key and its secret, and do not reach the container.
FIELDS = rb"modal-key|modal-secret|volant-key|volant-secret"
#: The same, and the field that holds both.
FIELDS_AND_BEARER = FIELDS + rb"|authorization"
_PAIRS = ((b"volant-key", b"volant-secret"), (b"modal-key", b"modal-secret"))
_NOBODY = bytes(32)


class Tokens:
    """The tokens that are good."""

    def __init__(self) -> None:
        self._hashes: dict[bytes, bytes] = {}

    def replace(self, hashes: dict[str, bytes]) -> None:
        """Know these tokens and no others: SHA-256 of the secret, by key."""
        self._hashes = {key.encode(): digest for key, digest in hashes.items()}

    def admits(self, head: RequestHead) -> bytes | None:
        """An expression for the names of the fields that showed a good token; None: none did."""
        notable = head.notable
        for key_field, secret_field in _PAIRS:
            if key_field in notable:
                key, secret = notable[key_field], notable.get(secret_field, b"")
                return FIELDS if self._is_good(key, secret) else None
        scheme, _, both = notable.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        key, _, secret = both.strip(b" ").partition(b".")
        return FIELDS_AND_BEARER if self._is_good(key, secret) else None

    def _is_good(self, key: bytes, secret: bytes) -> bool:
        # It takes the same time whether the key is unknown or the secret wrong.
        known = self._hashes.get(key, _NOBODY)
        return compare_digest(hashlib.sha256(secret).digest(), known) and key in self._hashes
