"""Memory files that their writers want back: who reads which, and the word that they let go.

    writer ──file with a token──► hub ──► reader           lent
    writer ◄──"released"── hub ◄──"released"── reader      back, or lost for good

A file goes to one reader only: given to a second one (a retry), or kept by the hub, it is lost
to its writer. A token is known for one reader and forgotten with it, so nobody can release what
is another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.wire import frames, values
from volant.wire.payloads import token_of
from volantd.hub import checks

if TYPE_CHECKING:
    from volantd.hub.peer import Peer
    from volantd.hub.records import Call, InputItems

#: Files that one reader may have, beyond which the oldest is lost to its writer.
HELD_MAX = 4096
_TOKEN_MAX = (1 << 63) - 1


class Loans:
    """Which peer has which file of which other peer."""

    def __init__(self) -> None:
        self._held: dict[Peer, dict[int, Peer]] = {}

    @property
    def count(self) -> int:
        """Files that are out."""
        return sum(len(held) for held in self._held.values())

    def lend_input(self, items: InputItems, section: bytes, call: Call, reader: Peer) -> None:
        """Note that the file of an input goes to a container."""
        token = _token(section)
        if not token or call.session is None:
            return
        if items.lent:
            _tell(call.session.peer, [], [token])
            return
        items.lent = True
        self._lend(token, call.session.peer, reader)

    def lend_result(self, call: Call | None, section: bytes, writer: Peer) -> None:
        """Note that the file of a result goes to whom the call belongs; None: to nobody."""
        token = _token(section)
        if not token:
            return
        session = None if call is None or call.retain else call.session
        if session is None or session.peer.closed:
            _tell(writer, [], [token])
        else:
            self._lend(token, writer, session.peer)

    @staticmethod
    def give_back(section: bytes, writer: Peer) -> None:
        """Return the file of a result that nobody reads."""
        token = _token(section)
        if token:
            _tell(writer, [token], [])

    def _lend(self, token: int, writer: Peer, reader: Peer) -> None:
        if reader.closed or writer.closed:
            _tell(writer, [], [token])
            return
        held = self._held.setdefault(reader, {})
        if token in held:  # sent again over a new connection, or nonsense: not worth a thought
            _tell(writer, [], [token])
            return
        held[token] = writer
        if len(held) > HELD_MAX:
            oldest = next(iter(held))
            _tell(held.pop(oldest), [], [oldest])

    def returned(self, reader: Peer, event: dict[str, Any], *, reusable: bool = True) -> None:
        """Pass on what a reader has let go of."""
        held = self._held.get(reader)
        for name in ("tokens", "lost"):
            for token in checks.sequence(event, name):
                if type(token) is not int:
                    raise ValueError("a token is no number")
                writer = held.pop(token, None) if held else None
                if writer is None:
                    continue
                back = reusable and name == "tokens"
                _tell(writer, [token] if back else [], [] if back else [token])
        if not held:
            self._held.pop(reader, None)

    def forget(self, peer: Peer) -> None:
        """A peer is gone: what it had is lost to its writers, what it lent comes back to nobody."""
        for token, writer in self._held.pop(peer, {}).items():
            _tell(writer, [], [token])
        for reader, held in list(self._held.items()):
            for token in [token for token, writer in held.items() if writer is peer]:
                del held[token]
            if not held:
                del self._held[reader]


def _token(section: bytes) -> int:
    """The token of a section's one item, 0 when there is none."""
    head = int.from_bytes(section[:4], "little")
    if head >> 28 not in (frames.MAPPED, frames.YIELD_MAPPED):
        return 0
    payload = section[4:]
    token = token_of(payload) if head & frames.HEAD_LENGTH_MASK == len(payload) else 0
    return token if token <= _TOKEN_MAX else 0


def _tell(writer: Peer, tokens: list[int], lost: list[int]) -> None:
    event = {"op": "released", "tokens": tokens, "lost": lost}
    writer.write(frames.control(frames.EVENT, values.encode(event)))
