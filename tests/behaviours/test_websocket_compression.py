"""Compressed messages through the gateway: each offer of the Autobahn suite's set 13, in short.

Sets 12 and 13 as a whole take twenty minutes; what they said is in `docs/internals/gateway.md`.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

from tests.behaviours.apps import gated
from tests.behaviours.programs import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What the server is asked to do without, and how far it may look back; several are alternatives.
OFFERS = [
    [(False, None)], [(True, None)], [(False, 9)], [(False, 15)], [(True, 9)], [(True, 15)],
    [(True, 9), (True, None), (False, None)],
]  # fmt: skip
SIZES = [0, 16, 256, 4096, 65_536, 131_072]
MESSAGES = 10


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with gated.app.run():
        found = gated.open_to_all.get_web_url()
        assert found
        yield found.replace("http", "ws", 1)


def message(chance: random.Random, size: int) -> bytes:
    """Half of it like anything that people send, half of chance."""
    text = json.dumps([{"name": chance.random(), "kind": "x" * 20} for _ in range(size // 90)])
    return (text.encode() + chance.randbytes(size))[:size]


@pytest.mark.parametrize("offers", OFFERS, ids=str)
def test_messages_come_back_whatever_was_offered(
    url: str, offers: list[tuple[bool, int | None]]
) -> None:
    chance = random.Random(1)
    extensions = [
        ClientPerMessageDeflateFactory(
            server_no_context_takeover=without, server_max_window_bits=bits,
            client_max_window_bits=True,
        )
        for without, bits in offers
    ]  # fmt: skip
    with connect(url, extensions=extensions, compression=None, open_timeout=WITHIN_S) as one:
        assert [extension.name for extension in one.protocol.extensions] == ["permessage-deflate"]
        for size in SIZES:
            for index in range(MESSAGES):
                sent = message(chance, size)
                # In one frame, or in frames of 1 KiB as in half of the cases of set 12.
                pieces = [sent[at : at + 1024] for at in range(0, size, 1024)] or [b""]
                one.send(iter(pieces) if index % 2 else sent)
                assert one.recv(WITHIN_S) == sent
