"""How the requests of a server went: `server.stats()`."""

from __future__ import annotations

from volant.sdk.calls.autoscaler import Record, _Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ServerStats(Record):
    """Requests of a server, as the gateway has counted them."""

    __slots__ = ("latency_p50_s", "latency_p90_s", "latency_p99_s", "requests", "since")

    def __init__(self, reply: dict[str, Any]) -> None:
        #: How many there were, by the status of their answer; 499: the client left.
        self.requests = {int(status): int(n) for status, n in reply["statuses"].items()}
        #: Seconds that one half, nine tenths, and all but a hundredth took at most, give or take a
        #: fifth: from their heads to the ends of their answers.
        self.latency_p50_s, self.latency_p90_s, self.latency_p99_s = reply["quantiles_s"]
        #: Since when, in seconds of Unix time: its start, or that of the gateway; None before both.
        self.since: float | None = reply["since"]


class GetServerStats(_Form):
    """`server.stats()` and its `.aio`."""

    __slots__ = ()

    def __call__(self) -> ServerStats:
        return ServerStats(self._ask("web_counts", "stats", {}))

    async def aio(self) -> ServerStats:
        return ServerStats(await self._ask_async("web_counts", {}))
