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
from volantd import fields, syncing

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
        #: SHA-256 of the secrets of tokens that are in no file, by key.
        self._lent: dict[str, bytes] = {}
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
        key, secret, digest = _new()
        self._rows[key] = {"name": name, "created_at": time(), "sha256": digest.hex()}
        self._save()
        return key, secret

    def lend(self) -> tuple[str, str]:
        """A token that is nowhere but in memory, until it is taken back: its key and its secret."""
        key, secret, self._lent[key] = _new()
        return key, secret

    def take_back(self, key: str) -> None:
        """Have a token that was lent be good no more."""
        self._lent.pop(key, None)

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
        kept = {key: bytes.fromhex(row["sha256"]) for key, row in self._rows.items()}
        return kept | self._lent

    def _save(self) -> None:
        syncing.replace(self._path, json.dumps(self._rows, indent=1).encode())


def _new() -> tuple[str, str, bytes]:
    """A key, a secret and its hash."""
    key = f"wk-{secrets.token_hex(KEY_BYTES)}"
    secret = f"ws-{secrets.token_hex(SECRET_BYTES)}"
    return key, secret, hashlib.sha256(secret.encode()).digest()


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


def token_lend(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """A token for as long as this client is connected; in place of one that it had before."""
    door = session.hub.door
    door.tokens.take_back(session.lent_token)
    key, secret = door.tokens.lend()
    session.lent_token = key
    door.tell_tokens()
    return {"key": key, "secret": secret}


HANDLERS = (token_create, token_list, token_revoke, token_lend)
