"""Which container a client of a server is kept with: sticky sessions, as far as memory allows.

Names only, and no promise: who is forgotten, or whose container is gone, gets another one.
"""

from __future__ import annotations

from collections import OrderedDict

#: Sessions that are remembered, all servers together.
SESSIONS_MAX = 100_000
#: How long one is remembered that sends nothing.
SESSION_IDLE_S = 3600.0


class Sessions:
    """The containers of sessions, those used last at the end."""

    def __init__(self) -> None:
        self._rows: OrderedDict[tuple[str, bytes], tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, function_id: str, session: bytes) -> str:
        """The container of a session; "" if none is known."""
        return self._rows.get((function_id, session), ("", 0.0))[0]

    def note(self, function_id: str, session: bytes, container_id: str, now: float) -> None:
        """Know that a session is served there now, and forget those that nobody uses."""
        key, rows = (function_id, session), self._rows
        rows[key] = container_id, now
        rows.move_to_end(key)
        while len(rows) > SESSIONS_MAX or next(iter(rows.values()))[1] + SESSION_IDLE_S < now:
            rows.popitem(last=False)
