"""The autoscaler of a server: as that of a function, and requests for each container."""

from __future__ import annotations

from volant.sdk.calls.autoscaler import (
    AutoscalerSettings,
    GetCurrentStats,
    GetSettings,
    Update,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Unpack

    from volant.sdk.calls.autoscaler import Changes
    from volant.sdk.calls.calling import Binding


class ServerAutoscalerSettings(AutoscalerSettings):
    """What the autoscaler of a server is told."""

    __slots__ = ("scaleup_window", "target_concurrency")

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(reply)
        #: Requests of a container that it aims at; None for as many as one takes.
        self.target_concurrency: int | None = reply["target_inputs"]
        #: Seconds that more containers have to be needed until one is started.
        self.scaleup_window = float(reply["scaleup_window_s"])


class GetServerSettings(GetSettings):
    """`server.autoscaler.settings()` and its `.aio`."""

    __slots__ = ()

    _made_of = ServerAutoscalerSettings


class UpdateServer(Update):
    """`server.update_autoscaler(...)` and its `.aio`: None leaves a setting as it is."""

    __slots__ = ()

    _made_of = ServerAutoscalerSettings

    def __call__(
        self, *, target_concurrency: float | None = None, scaleup_window: float | None = None,
        **changes: Unpack[Changes],
    ) -> AutoscalerSettings:  # fmt: skip
        """Change what is given, and return all settings.

        Raises:
            InvalidError: for a value that makes no sense, naming it.
        """
        fields = _given(target_concurrency, scaleup_window, changes)
        return self._kept(fields, self._ask("function_update", "update_autoscaler", fields))

    async def aio(
        self, *, target_concurrency: float | None = None, scaleup_window: float | None = None,
        **changes: Unpack[Changes],
    ) -> AutoscalerSettings:  # fmt: skip
        fields = _given(target_concurrency, scaleup_window, changes)
        return self._kept(fields, await self._ask_async("function_update", fields))


def _given(
    target_concurrency: float | None, scaleup_window: float | None, changes: Changes
) -> dict[str, object]:
    from volant.sdk.options import checked_autoscaler
    from volant.sdk.web.servers import checked_scaleup_s, checked_target

    target = checked_target(target_concurrency)
    given = {name: value for name, value in changes.items() if value is not None}
    fields = checked_autoscaler(given)
    if scaleup_window is not None:
        fields["scaleup_window_s"] = checked_scaleup_s(scaleup_window)
    return fields if target is None else {**fields, "target_inputs": target}


class ServerAutoscaler:
    """`server.autoscaler`: what the autoscaler of a server is told."""

    __slots__ = ("settings", "stats", "update")

    def __init__(self, name: str, bound: Callable[[], Binding]) -> None:
        """`bound`: gives where the hub finds the server."""
        self.settings = GetServerSettings(name, bound)
        self.update = UpdateServer(name, bound)
        self.stats = GetCurrentStats(name, bound)
