"""Apps, and what describes them."""

from __future__ import annotations

from modal._standins import standins
from volant import App as App, Function as Function, Retries as Retries
from volant.sdk.app import LocalEntrypoint as LocalEntrypoint
from volant.types import AppInfo as AppInfo

__getattr__ = standins(
    __name__,
    "AppSandboxesManager",
    "AppStats",
    "PartialFunction",
    "RunningApp",
    "SandboxGroupStats",
    "Schedule",
    "check_sequence",
    "validate_http_server_config",
)
