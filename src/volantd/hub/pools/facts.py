"""Requests about what a pool is: the options that describe it, and what it is reached by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volantd.hub.pools import autoscaler
from volantd.images.described import image_id_of

if TYPE_CHECKING:
    from volantd.hub.session import Session

#: Options that another client may see of a function: not its environment, nor its secrets.
SHOWN = (
    "min_containers", "max_containers", "buffer_containers", "scaledown_window_s", "timeout_s",
    "startup_timeout_s", "retries", "max_inputs", "target_inputs", "batch_size", "batch_wait_s",
    "single_use", "cpu", "cpu_limit", "memory_mib", "memory_limit_mib", "gpu",
    "ephemeral_disk_mib", "block_network", "restricted", "snapshot", "has_exit", "cluster_size",
)  # fmt: skip


def function_info(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """What a pool is: of secrets and buckets only which there are."""
    function = autoscaler.find(session, message)
    app, spec, options = function.app, function.spec, function.options
    stored = options.get("stored", ())
    return {
        "function_id": function.object_id, "name": function.name, "app": app.name,
        "app_id": app.app_id, "kind": "class" if spec["methods"] else "function",
        "image_id": image_id_of(function.version.image),
        "options": {name: options[name] for name in SHOWN}, "schedule": options["schedule"],
        "secrets": sorted({one["name"] for one in stored if "name" in one}),
        "volumes": [_mount(one) for one in options["volumes"]], "web": _web(spec["web"]),
        "methods": [
            {"name": one["name"], "is_generator": one["is_generator"], "web": _web(one["web"])}
            for one in spec["methods"]
        ],
        "urls": [row for row in app.urls if row[0] == function.name],
    }  # fmt: skip


def _mount(one: dict[str, Any]) -> dict[str, Any]:
    """Where a volume or bucket is, without what opens a bucket."""
    shown = {"path": one["path"], "read_only": one["read_only"]}
    if "bucket" in one:
        bucket = one["bucket"]
        return {**shown, "bucket": bucket["name"], "prefix": bucket["key_prefix"]}
    return {**shown, "volume_id": one["volume"], "sub_path": one["sub_path"]}


def _web(form: dict[str, Any] | None) -> dict[str, Any] | None:
    """How something answers to the web, as far as people are told."""
    if form is None:
        return None
    shown = ("kind", "method", "port", "h2_enabled", "drain_s", "startup_timeout_s")
    return {
        "needs_token": bool(form["requires_proxy_auth"]),
        "is_sessioned": form.get("session_requests_max") is not None,
        **{name: form.get(name) for name in shown},
    }  # fmt: skip
