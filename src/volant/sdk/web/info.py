"""What a server is: `server.info()`, the whole of its configuration as the hub knows it."""

from __future__ import annotations

from volant.sdk.calls.autoscaler import _Form
from volant.sdk.calls.described import ClusterInfo, Described, ImageInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ServerInfo(Described):
    """A server, as its hub knows it."""

    __slots__ = (
        "compute_regions", "exit_grace_period", "h2_enabled", "port", "server_url", "sessioned",
        "unauthenticated", "url",
    )  # fmt: skip

    ClusterInfo = ClusterInfo
    ImageInfo = ImageInfo

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(reply)
        [form] = [one["web"] for one in reply["methods"] if one["web"] is not None]
        #: Where it answers.
        self.url: str | None = next((url.removesuffix("/") for _, _, url in reply["urls"]), None)
        self.server_url = self.url
        self.port: int = form["port"]
        self.unauthenticated = not form["needs_token"]
        self.h2_enabled = bool(form["h2_enabled"])
        #: Seconds that its port may take to accept once the hooks have run.
        self.startup_timeout: float = form["startup_timeout_s"]
        #: Seconds for requests to finish before it is told to end.
        self.exit_grace_period: float = form["drain_s"]
        self.sessioned = bool(form["is_sessioned"])
        self.compute_regions: list[str] = []


class GetInfo(_Form):
    """`server.info()` and its `.aio`."""

    __slots__ = ()

    def __call__(self, *, refresh: bool = False) -> ServerInfo:
        return ServerInfo(self._ask("function_info", "info", {}))

    async def aio(self, *, refresh: bool = False) -> ServerInfo:
        return ServerInfo(await self._ask_async("function_info", {}))
