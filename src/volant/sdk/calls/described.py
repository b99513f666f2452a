"""What a function is: `f.info()`, the whole of its configuration as the hub knows it.

Of secrets there are only the names of those that are stored. What a machine without regions cannot
tell (regions, clouds) is there, and empty.
"""

from __future__ import annotations

from volant.sdk.calls.autoscaler import Record, _Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ImageInfo(Record):
    """An image: its id (`im-…`), None for the caller's own Python; its name is not known."""

    __slots__ = ("image_id", "image_name")

    def __init__(self, image_name: str | None, image_id: str | None) -> None:
        self.image_name = image_name
        self.image_id = image_id


class ClusterInfo(Record):
    """Containers that run each input together."""

    __slots__ = ("fabric_size", "rdma", "size")

    def __init__(self, size: int, rdma: bool = False, fabric_size: int | None = None) -> None:
        self.size = size
        self.rdma = rdma
        self.fabric_size = fabric_size


class BatchingInfo(Record):
    """Inputs that are taken together."""

    __slots__ = ("max_batch_size", "wait_ms")

    def __init__(self, max_batch_size: int, wait_ms: int) -> None:
        self.max_batch_size = max_batch_size
        self.wait_ms = wait_ms


class ConcurrencyInfo(Record):
    """Inputs that a container runs side by side."""

    __slots__ = ("max_inputs", "target_inputs")

    def __init__(self, max_inputs: int, target_inputs: int | None) -> None:
        self.max_inputs = max_inputs
        self.target_inputs = target_inputs


class WebInfo(Record):
    """How a function or method answers to the web."""

    __slots__ = ("method", "unauthenticated", "web_url")

    def __init__(self, web_url: str | None, method: str | None, unauthenticated: bool) -> None:
        self.web_url = web_url
        #: Of HTTP, where there is but one.
        self.method = method
        self.unauthenticated = unauthenticated


class VolumeMountInfo(Record):
    """A volume that containers have; its name is not known."""

    __slots__ = ("name", "read_only", "sub_path", "volume_id")

    def __init__(self, volume_id: str, read_only: bool, sub_path: str | None) -> None:
        self.name: str | None = None
        self.volume_id = volume_id
        self.read_only = read_only
        self.sub_path = sub_path


class CloudBucketMountInfo(Record):
    """A bucket that containers have."""

    __slots__ = ("bucket_name", "bucket_type", "key_prefix", "read_only")

    def __init__(self, bucket_name: str, read_only: bool, key_prefix: str | None) -> None:
        self.bucket_name = bucket_name
        self.bucket_type = "s3"
        self.read_only = read_only
        self.key_prefix = key_prefix


class Described(Record):
    """What functions and servers have in common."""

    __slots__ = (
        "cloud", "cloud_bucket_mounts", "cluster_info", "cpu", "ephemeral_disk_mib", "gpus",
        "image_info", "memory_mib", "name", "nonpreemptible", "object_id", "routing_region",
        "secrets", "startup_timeout", "volumes",
    )  # fmt: skip

    def __init__(self, reply: dict[str, Any]) -> None:
        options = reply["options"]
        self.name: str = reply["name"]
        #: Its id, the same in all versions of a deployed app.
        self.object_id: str = reply["function_id"]
        #: Cores that are asked for, and not exceeded; None for no such thing.
        self.cpu: tuple[float | None, float | None] = (options["cpu"], options["cpu_limit"])
        self.memory_mib: tuple[int, int | None] = (
            options["memory_mib"], options["memory_limit_mib"]
        )  # fmt: skip
        #: Alternatives, the best first, as `gpu=` takes them.
        self.gpus = [f"{name}:{count}" if count > 1 else name for name, count in options["gpu"]]
        self.ephemeral_disk_mib: int | None = options["ephemeral_disk_mib"]
        self.image_info = ImageInfo(None, reply["image_id"])
        #: Seconds.
        self.startup_timeout: float = options["startup_timeout_s"]
        size = options["cluster_size"]
        self.cluster_info = ClusterInfo(size) if size else None
        #: By the path where it is mounted.
        self.volumes: dict[str, VolumeMountInfo] = {}
        self.cloud_bucket_mounts: dict[str, CloudBucketMountInfo] = {}
        for one in reply["volumes"]:
            path, fixed = one["path"], one["read_only"]
            if "bucket" in one:
                bucket = CloudBucketMountInfo(one["bucket"], fixed, one["prefix"] or None)
                self.cloud_bucket_mounts[path] = bucket
            else:
                part = one["sub_path"] or None
                self.volumes[path] = VolumeMountInfo(one["volume_id"], fixed, part)
        #: Names of those that are stored.
        self.secrets: list[str] = reply["secrets"]
        # There is one machine, in no region, which takes no container away.
        self.nonpreemptible = True
        self.cloud: str | None = None
        self.routing_region: str | None = None


class FunctionInfo(Described):
    """A function or class, as its hub knows it."""

    __slots__ = (
        "batching_info", "block_network", "concurrency_info", "max_retries", "method_details",
        "method_names", "regions", "restrict_modal_access", "schedule", "single_use_containers",
        "timeout", "web_info",
    )  # fmt: skip

    BatchingInfo = BatchingInfo
    ClusterInfo = ClusterInfo
    ConcurrencyInfo = ConcurrencyInfo
    ImageInfo = ImageInfo
    WebInfo = WebInfo

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(reply)
        options = reply["options"]
        urls = {method: url.removesuffix("/") for _, method, url in reply["urls"]}
        #: Seconds of one attempt.
        self.timeout: float = options["timeout_s"]
        self.max_retries: int = options["retries"]["max_retries"]
        batch, most = options["batch_size"], options["max_inputs"]
        self.batching_info = (
            BatchingInfo(batch, round(options["batch_wait_s"] * 1000)) if batch else None
        )
        is_shared = most > 1 and not batch
        self.concurrency_info = (
            ConcurrencyInfo(most, options["target_inputs"]) if is_shared else None
        )
        #: As `volant.Cron` or `volant.Period` were given it.
        self.schedule: dict[str, Any] | None = reply["schedule"]
        self.block_network: bool = options["block_network"]
        self.single_use_containers: bool = options["single_use"]
        self.web_info = _web_info(reply["web"], urls.get(None))
        self.method_names: list[str] = [one["name"] for one in reply["methods"]]
        #: How each method answers to the web, by its name; None for one that does not.
        self.method_details = {
            one["name"]: _web_info(one["web"], urls.get(one["name"])) for one in reply["methods"]
        }
        self.regions: list[str] = []
        self.restrict_modal_access: bool = options["restricted"]


def _web_info(form: dict[str, Any] | None, url: str | None) -> WebInfo | None:
    return None if form is None else WebInfo(url, form["method"], not form["needs_token"])


class GetFunctionInfo(_Form):
    """`f.info()` and its `.aio`."""

    __slots__ = ()

    def __call__(self, *, refresh: bool = False) -> FunctionInfo:
        return FunctionInfo(self._ask("function_info", "info", {}))

    async def aio(self, *, refresh: bool = False) -> FunctionInfo:
        return FunctionInfo(await self._ask_async("function_info", {}))
