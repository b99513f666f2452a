"""Tokens for web functions that require one: made, listed, revoked, and kept as hashes.

A secret is 256 random bits, so a plain hash of it cannot be guessed back. The secret itself is
shown once, when its token is made.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from time import time
from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError, NotFoundError
from volantd import fields

if TYPE_CHECKING:
    from volantd.hub.session import Session

FILE_NAME = "tokens.json"
TOKENS_MAX = 1000
NAME_CHARS_MAX = 100
#: Bytes of chance in a key, which is no secret, and in a secret.
KEY_BYTES = 12
SECRET_BYTES = 32


class TokenBook:
    """The tokens of a daemon home, in a file that only its owner reads."""

    def __init__(self, home: str) -> None:
        self._path = os.path.join(home, FILE_NAME)
        self._rows: dict[str, dict[str, Any]] = {}
        if os.path.exists(self._path):
            with open(self._path) as file:
                self._rows = json.load(file)

    def create(self, name: str) -> tuple[str, str]:
        """A new token: its key and its secret.

        Raises:
            InvalidError: for a name that is too long or cannot be shown, or too many tokens.
        """
        if len(name) > NAME_CHARS_MAX or not name.isprintable():
            raise InvalidError(f"a token's name has at most {NAME_CHARS_MAX} characters to print")
        if len(self._rows) >= TOKENS_MAX:
            raise InvalidError(
                f"there are {TOKENS_MAX} tokens", hint="`volant token revoke` removes one"
            )
        key = f"wk-{secrets.token_hex(KEY_BYTES)}"
        secret = f"ws-{secrets.token_hex(SECRET_BYTES)}"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        self._rows[key] = {"name": name, "created_at": time(), "sha256": digest}
        self._save()
        return key, secret

    def rows(self) -> list[dict[str, Any]]:
        """The tokens, the newest last, without what their secrets could be guessed from."""
        rows = [{"key": key, **row} for key, row in self._rows.items()]
        return [{name: row[name] for name in ("key", "name", "created_at")} for row in rows]

    def revoke(self, key: str) -> None:
        """Forget a token.

        Raises:
            NotFoundError: when there is none of this key.
        """
        if self._rows.pop(key, None) is None:
            raise NotFoundError(
                f"there is no token {key[:NAME_CHARS_MAX]!r}",
                hint="`volant token list` shows all",
            )
        self._save()

    def hashes(self) -> dict[str, bytes]:
        """SHA-256 of each secret, by key."""
        return {key: bytes.fromhex(row["sha256"]) for key, row in self._rows.items()}

    def _save(self) -> None:
        part = f"{self._path}.part"
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, json.dumps(self._rows, indent=1).encode())
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(part, self._path)


# -- requests


def token_create(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Make a token."""
    door = session.hub.door
    key, secret = door.tokens.create(fields.text(message, "name"))
    door.tell_tokens()
    return {"key": key, "secret": secret}


def token_list(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """All tokens, without their secrets."""
    return {"tokens": session.hub.door.tokens.rows()}


def token_revoke(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Forget a token: requests with it are refused from now on."""
    door = session.hub.door
    door.tokens.revoke(fields.text(message, "key"))
    door.tell_tokens()
    return {}


HANDLERS = (token_create, token_list, token_revoke)
