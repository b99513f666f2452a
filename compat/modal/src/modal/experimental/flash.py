"""Servers as they were before `modal.Server`."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(
    __name__,
    "FlashManager",
    "FlashPrometheusAutoscaler",
    "flash_forward",
    "flash_get_containers",
    "flash_prometheus_autoscaler",
    "http_server",
    "validate_http_server_config",
)
