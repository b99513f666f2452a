"""Tokens that let requests in to a port of a sandbox, through the gateway.

A token is 256 random bits and is known by its hash; it is good until its sandbox ends.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any

from volant.errors import ResourceExhaustedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.hub.sandboxes.record import Sandbox

#: Tokens of one sandbox.
TOKENS_MAX = 1000
#: Bytes of chance in one.
SECRET_BYTES = 32
#: Characters of what a token is made for.
METADATA_CHARS_MAX = 511


class Ways:
    """The ways in that the gateway is told of."""

    def __init__(self, tell: Callable[..., None]) -> None:
        """`tell`: sends an event to the gateway."""
        self._tell = tell
        #: By label: what the gateway is told.
        self._ways: dict[str, dict[str, Any]] = {}

    def add(self, sandbox: Sandbox, port: int, address: str, metadata: str) -> tuple[str, str]:
        """A new token for a port that is reached at an address: the label of it, and the token.

        Raises:
            ResourceExhaustedError: when the sandbox has as many as it may.
        """
        label = f"{sandbox.sandbox_id}-{port}"
        mine = [way for way in self._ways.values() if way["name"] == sandbox.sandbox_id]
        if sum(len(way["tokens"]) for way in mine) >= TOKENS_MAX:
            raise ResourceExhaustedError(
                f"sandbox {sandbox.sandbox_id} has {TOKENS_MAX} tokens, which is the most"
            )
        if not mine:
            sandbox.finished.add_done_callback(lambda _: self._forget(sandbox))
        way = self._ways.setdefault(label, {
            "label": label, "name": sandbox.sandbox_id, "address": address, "tokens": [],
            "container": sandbox.container_id, "timeout_s": sandbox.timeout_s,
            "networks": None if sandbox.inbound is None else list(map(str, sandbox.inbound)),
        })  # fmt: skip
        token = secrets.token_urlsafe(SECRET_BYTES)
        way["tokens"].append([hashlib.sha256(token.encode()).digest(), metadata])
        self._tell("lead", **way)
        return label, token

    def tell_all(self) -> None:
        """Tell a gateway that has come."""
        for way in self._ways.values():
            self._tell("lead", **way)

    def _forget(self, sandbox: Sandbox) -> None:
        for label in [one for one, way in self._ways.items() if way["name"] == sandbox.sandbox_id]:
            del self._ways[label]
            self._tell("unroute", label=label)
