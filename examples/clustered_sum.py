"""A sum over several containers that run one input together and talk to each other by TCP.

$ volant run examples/clustered_sum.py
rank 1 of 4 has 124750
the sum is 499500

Each container of a cluster knows its rank and the addresses of all.
"""

import socket

import volant
import volant.experimental

app = volant.App("clustered-sum")
SIZE = 4
PORT = 29500


@app.function()
@volant.clustered(size=SIZE)
def total(count: int) -> int:
    """The sum of the numbers below `count`, of which each rank adds up its share."""
    cluster = volant.experimental.get_cluster_info()
    share = sum(range(cluster.rank, count, SIZE))
    print(f"rank {cluster.rank} of {SIZE} has {share}")
    first = cluster.container_ipv4_ips[0]
    if cluster.rank == 0:
        return share + sum(gather())
    send(first, share)
    return 0  # what other ranks return is dropped


def gather() -> list[int]:
    """Take a number from each other rank."""
    with socket.create_server(("0.0.0.0", PORT), backlog=SIZE) as listener:
        shares = []
        while len(shares) < SIZE - 1:
            connection, _ = listener.accept()
            with connection, connection.makefile() as lines:
                shares.append(int(lines.readline()))
        return shares


def send(address: str, share: int) -> None:
    """Give rank 0 a number, which may not listen yet."""
    while True:
        try:
            with socket.create_connection((address, PORT)) as connection:
                connection.sendall(f"{share}\n".encode())
            return
        except ConnectionRefusedError:
            continue


@app.local_entrypoint()
def main(count: int = 1000) -> None:
    """Sum in the cluster, and check it here."""
    print(f"the sum is {total.remote(count)}")
