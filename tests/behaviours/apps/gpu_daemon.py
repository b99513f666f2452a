"""A daemon on a machine that has four GPUs, as far as nodes go: `gpu_daemon.py NODES [options]`."""

from __future__ import annotations

import sys

from volantd.agent.gpus import Device, Installed
from volantd.core import Gpu
from volantd.main import main


def find_gpus() -> Installed:
    devices = tuple(
        Device(
            gpu=Gpu(index=index, uuid=f"GPU-{index}", model="H100"),
            name="NVIDIA H100 80GB HBM3", memory_bytes=80 << 30, node=f"nvidia{index}",
        )
        for index in range(4)
    )  # fmt: skip
    return Installed(devices=devices, dev=NODES)


if __name__ == "__main__":
    NODES = sys.argv.pop(1)
    main(find_gpus)
