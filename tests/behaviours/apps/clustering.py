"""Clusters whose containers talk to each other, fail, hang and are killed."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import volant
import volant.experimental
from volant.errors import InputCancellation

if TYPE_CHECKING:
    from collections.abc import Callable

app = volant.App("clustering")
SIZE = 3
PORT = 5000
TIMEOUT_S = 1.0


def _met(listen: Callable[[], socket.socket], addresses: list[str]) -> list[str]:
    """Say a rank to all, at the port at which all listen, and hear one from each."""
    cluster = volant.experimental.get_cluster_info()
    heard: list[str] = []
    with closing(listen()) as listener:

        def hear() -> None:
            for _ in addresses:
                with closing(listener.accept()[0]) as connection:
                    heard.append(connection.recv(100).decode())

        listening = threading.Thread(target=hear)
        listening.start()
        for address in addresses:
            with closing(_connected(address)) as connection:
                connection.sendall(f"{cluster.rank} to {addresses.index(address)}".encode())
        listening.join()
    return sorted(heard)


def _connected(address: str) -> socket.socket:
    while True:
        try:
            return socket.create_connection((address, PORT))
        except ConnectionRefusedError:
            continue


@app.function()
@volant.experimental.clustered(size=SIZE)
def meet(form: str) -> list[str]:
    """What rank 0 heard, all of it said to it."""
    cluster = volant.experimental.get_cluster_info()
    if form == "ipv6":
        heard = _met(
            lambda: socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True),
            cluster.container_ips,
        )
    else:
        host = cluster.container_ipv4_ips[cluster.rank] if form == "own" else "0.0.0.0"
        heard = _met(lambda: socket.create_server((host, PORT)), cluster.container_ipv4_ips)
    assert heard == [f"{rank} to {cluster.rank}" for rank in range(SIZE)], heard
    return heard


@app.function()
@volant.clustered(size=SIZE)
def where(seen: Any = None) -> tuple[int, str, list[str], str]:
    """Where this is: the rank of whoever answers, the cluster, its addresses, the container."""
    cluster = volant.experimental.get_cluster_info()
    told = (
        cluster.rank, cluster.cluster_id, cluster.container_ipv4_ips, os.environ["VOLANT_TASK_ID"]
    )  # fmt: skip
    if seen is not None:
        seen.put(told)
    return told


@app.function()
@volant.clustered(size=SIZE)
def known(seen: Any) -> None:
    """What each knows of the cluster as an object."""
    cluster = volant.Cluster.from_context()
    own = os.environ["VOLANT_TASK_ID"]
    assert volant.Cluster.from_id(cluster.object_id).container_ids() == cluster.container_ids()
    assert cluster.container_rank() == cluster.container_rank(own)
    info = volant.experimental.get_cluster_info()
    assert cluster.container_ips() == info.container_ips
    assert cluster.container_ips(family="ipv4") == info.container_ipv4_ips
    seen.put((own, info.rank, cluster.container_ids()))


@app.function()
@volant.clustered(1)
def single() -> int:
    """The rank in a cluster of one."""
    return volant.experimental.get_cluster_info().rank


@app.function()
def plain() -> str:
    """What a function without a cluster is told."""
    try:
        return repr(volant.experimental.get_cluster_info())
    except volant.errors.ExecutionError as error:
        return str(error)


def _run(deeds: dict[int, str], began: Any) -> str:
    try:
        return _done(deeds, began)
    except InputCancellation:
        began.put("cancelled")
        raise


def _done(deeds: dict[int, str], began: Any) -> str:
    cluster = volant.experimental.get_cluster_info()
    began.put((cluster.rank, cluster.cluster_id, os.environ["VOLANT_TASK_ID"]))
    match deeds.get(cluster.rank, "return"):
        case "raise":
            raise LookupError(f"rank {cluster.rank} has nothing")
        case "raise at first" if began.put("raised", partition=f"of {cluster.rank}") is None:
            if began.len(partition=f"of {cluster.rank}") == 1:
                raise LookupError("not yet")
        case "die":
            os._exit(3)
        case "wait":
            threading.Event().wait()
    return f"rank {cluster.rank} is done"


@app.function(max_containers=SIZE)
@volant.clustered(size=SIZE)
def act(deeds: dict[int, str], began: Any) -> str:
    """Do what is said of this rank; the others wait for ever, or return."""
    return _run(deeds, began)


@app.function(retries=volant.Retries(max_retries=2, initial_delay=0.0))
@volant.clustered(size=SIZE)
def retried(deeds: dict[int, str], began: Any) -> str:
    """The same, and once more if it fails."""
    return _run(deeds, began)


@app.function(timeout=TIMEOUT_S)
@volant.clustered(size=SIZE)
def hurried(deeds: dict[int, str], began: Any) -> str:
    """The same, for a second."""
    return _run(deeds, began)


@app.function(max_containers=2 * SIZE)
@volant.clustered(size=SIZE)
def large(count: int) -> bytes:
    """So many bytes, which do not fit a frame."""
    return bytes([volant.experimental.get_cluster_info().rank + 1]) * count
