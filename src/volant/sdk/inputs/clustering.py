"""`@volant.clustered` and `get_cluster_info`: several containers that run each input together.

@app.function(gpu="H100")
@volant.clustered(size=4)
def train() -> float: ...
"""

from __future__ import annotations

from volant import _context
from volant.errors import ExecutionError, InvalidError, NotFoundError
from volant.sdk.classes.handles import Cls
from volant.sdk.classes.marks import Method
from volant.sdk.function import (
    BATCHED_MARK,
    CLUSTERED_MARK as MARK,
    CONCURRENT_MARK,
    WEB_MARK,
    Function,
)
from volant.sdk.naming import check_id
from volant.sdk.objects.handle import Handle, at_once, check_client
from volant.sdk.planned import unimplemented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from volant.sdk.calls.forms import Hydrate
    from volant.sdk.objects.client import Client

    Raw = TypeVar("Raw", bound=Callable[..., Any])

#: Containers of one cluster.
SIZE_MAX = 64
_RIGHT_FORM = "write @volant.clustered(size=4) right above the function"


class ClusterInfo:
    """A container's place in the cluster that it belongs to.

    Attributes:
        rank: from 0; the call returns what the container of rank 0 returns.
        cluster_id: `cu-…`, the same for all.
        container_ips: where each is reached, by rank, in the form of IPv6.
        container_ipv4_ips: the same addresses as IPv4.
    """

    __slots__ = ("cluster_id", "container_ips", "container_ipv4_ips", "rank")

    def __init__(self, rank: int, cluster_id: str, container_ipv4_ips: list[str]) -> None:
        self.rank = rank
        self.cluster_id = cluster_id
        self.container_ipv4_ips = container_ipv4_ips
        self.container_ips = [f"::ffff:{address}" for address in container_ipv4_ips]

    def __repr__(self) -> str:
        size = len(self.container_ipv4_ips)
        return f"<ClusterInfo of {self.cluster_id}: rank {self.rank} of {size}>"


class Cluster(Handle):
    """The containers that run one input together. See `volant.Cluster.from_context`."""

    def __init__(self, cluster: dict[str, Any]) -> None:
        """Made by `from_context` and `from_id`."""
        self._cluster = cluster

    def __repr__(self) -> str:
        return f"<volant.Cluster {self.object_id!r}>"

    @at_once
    @staticmethod
    def from_context() -> Cluster:
        """The cluster that this container belongs to.

        Raises:
            ExecutionError: outside a container of a function with `@volant.clustered`.
        """
        return Cluster(_own("Cluster.from_context()"))

    @at_once
    @staticmethod
    def from_id(cluster_id: str, client: Client | None = None) -> Cluster:
        """The cluster of an id, which has to be the one that this container belongs to.

        Raises:
            ExecutionError: outside a container of a function with `@volant.clustered`.
            InvalidError: for what cannot be an id of one.
            NotFoundError: for the id of another.
        """
        check_id("a cluster", cluster_id, "cu-")
        check_client(client)
        cluster = _own("Cluster.from_id(...)")
        if cluster["id"] != cluster_id:
            raise NotFoundError(f"there is no cluster {cluster_id} that this container belongs to")
        return Cluster(cluster)

    @property
    def object_id(self) -> str:
        """Its id (`cu-…`)."""
        return str(self._cluster["id"])

    @property
    def hydrate(self) -> Hydrate[Cluster]:
        """The cluster itself: `cluster.hydrate()`."""
        from volant.sdk.calls.forms import Hydrate

        return Hydrate(self, lambda: None)

    @property
    def container_ids(self) -> at_once[[], list[str]]:
        """The ids of its containers, by rank: `cluster.container_ids()`."""
        return at_once(self._container_ids)

    @property
    def container_ips(self) -> at_once[..., list[str]]:
        """Where each is reached, by rank: `cluster.container_ips(family="ipv6")`, or `"ipv4"`.

        Raises (when called):
            InvalidError: for another family.
        """
        return at_once(self._container_ips)

    @property
    def container_rank(self) -> at_once[..., int]:
        """The rank of a container, by default of this one: `cluster.container_rank()`.

        Raises (when called):
            NotFoundError: for a container that is not one of them.
        """
        return at_once(self._container_rank)

    def _container_ids(self) -> list[str]:
        return list(self._cluster["containers"])

    def _container_ips(self, family: str = "ipv6") -> list[str]:
        if family not in ("ipv4", "ipv6"):
            raise InvalidError(f"family must be 'ipv4' or 'ipv6', got {family!r}")
        info = ClusterInfo(0, "", list(self._cluster["addresses"]))
        return info.container_ipv4_ips if family == "ipv4" else info.container_ips

    def _container_rank(self, container_id: str | None = None) -> int:
        if container_id is None:
            return int(self._cluster["rank"])
        found = self._container_ids()
        if container_id not in found:
            raise NotFoundError(f"{container_id!r} is no container of cluster {self.object_id}")
        return found.index(container_id)


def _own(form: str) -> dict[str, Any]:
    """What the container knows of its cluster.

    Raises:
        ExecutionError: when it belongs to none.
    """
    cluster = _context.cluster
    if cluster is None:
        raise ExecutionError(
            f"{form} only means something in a container of a cluster",
            hint="call it in a function with @volant.clustered(size=...) that runs remotely",
        )
    return cluster


def get_cluster_info() -> ClusterInfo:
    """Which place this container has in its cluster, and where the others are reached.

    Raises:
        ExecutionError: outside a container of a function with `@volant.clustered`.
    """
    cluster = _own("get_cluster_info()")
    return ClusterInfo(cluster["rank"], cluster["id"], list(cluster["addresses"]))


def clustered(
    size: int = 0, broadcast: bool = True, *, rdma: bool = False, fabric_size: int | None = None
) -> Callable[[Raw], Raw]:
    """Have each input run by several containers at once, which start together and end together.

    All get the input, and the call returns what the one of rank 0 returns, once all have returned.
    `volant.experimental.get_cluster_info()` tells each its rank and the addresses of all. When one
    fails, the others are ended and the input fails, or is run again by new ones. Stands between
    `@app.function()` and the function, whose options each container has for itself.

    Args:
        size: containers, 1 to 64.
        broadcast: whether all get the input; always so.
        rdma: a network that this machine has not.
        fabric_size: likewise.

    Raises:
        InvalidError: for a size that makes no sense, without parentheses, for generator functions,
            methods and classes.
        UnimplementedError: for what needs other machines.
    """
    if callable(size):
        raise InvalidError(
            "@volant.clustered needs parentheses: @volant.clustered(size=4)", hint=_RIGHT_FORM
        )
    if type(size) is not int or not 1 <= size <= SIZE_MAX:
        raise InvalidError(f"size must be from 1 to {SIZE_MAX}, got {size!r}", hint=_RIGHT_FORM)
    for name, is_asked in (
        ("rdma=True", rdma), ("fabric_size=...", fabric_size is not None),
        ("broadcast=False", not broadcast),
    ):  # fmt: skip
        if is_asked:
            raise unimplemented(f"@volant.clustered({name})")

    def decorate(raw: Raw) -> Raw:
        _check_raw(raw)
        setattr(raw, MARK, size)
        return raw

    return decorate


def with_cluster(raw: Any, options: dict[str, Any], *, is_generator: bool) -> dict[str, Any]:
    """The options of a function whose plain function is marked.

    Raises:
        InvalidError: beside what contradicts the mark.
    """
    size, most = getattr(raw, MARK), options["max_containers"]
    for is_there, other in (
        (is_generator, "yield values"),
        (hasattr(raw, WEB_MARK), "answer to the web"),
        (hasattr(raw, BATCHED_MARK), "have @volant.batched"),
        (hasattr(raw, CONCURRENT_MARK), "have @volant.concurrent"),
        (options["block_network"], "have block_network=True: its containers reach each other"),
        (most is not None and most < size, f"have max_containers={most}, less than its size"),
    ):
        if is_there:
            raise InvalidError(
                f"`{raw.__name__}` has @volant.clustered(size={size}) and cannot {other}",
                hint="drop one of them",
            )
    return {**options, "cluster_size": size}


def _check_raw(raw: Any) -> None:
    if isinstance(raw, Function):
        raise InvalidError(
            f"@volant.clustered is above @app.function of `{raw.name}`: swap the order",
            hint="write it right above the function",
        )
    if isinstance(raw, (Cls, Method, type)):
        raise InvalidError(
            "@volant.clustered is for functions: a class cannot be a cluster", hint=_RIGHT_FORM
        )
    if not callable(raw):
        raise InvalidError(f"@volant.clustered needs a function, got {raw!r}", hint=_RIGHT_FORM)
