"""What may change or go without notice."""

from __future__ import annotations

from modal._standins import standins
from volant.experimental import (
    AppInfo as AppInfo,
    AppLifecycle as AppLifecycle,
    ClusterInfo as ClusterInfo,
    OutboundPolicy as OutboundPolicy,
    clustered as clustered,
    get_app_lifecycle as get_app_lifecycle,
    get_app_objects as get_app_objects,
    get_cluster_info as get_cluster_info,
    get_local_input_concurrency as get_local_input_concurrency,
    image_delete as image_delete,
    list_deployed_apps as list_deployed_apps,
    stop_app as stop_app,
    stop_fetching_inputs as stop_fetching_inputs,
)

__getattr__ = standins(
    __name__, "AppendResult", "ClusterReservation",
    "ClusterReservationTask", "DockerfileSpec", "Entry", "IdempotencyConflict", "ServerManager",
    "Stream", "StreamInfo", "StreamToken", "StreamWriter", "flash_forward",
    "flash_get_containers", "flash_prometheus_autoscaler", "get_fabric_peers",
    "http_server", "list_cluster_reservations", "server_forward", "set_local_input_concurrency",
)  # fmt: skip
