"""Functions that ask for GPUs, for more memory each time, for threads, and for a small disk."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import volant

app = volant.App("granting")
cuda_app = volant.App("cuda")

GROWING = volant.Retries(max_retries=2, initial_delay=0.0, memory_multiplier=2.0)


def seen() -> tuple[str | None, list[str]]:
    """Which GPUs this process is told of, and the nodes that it sees."""
    nodes = sorted(name for name in os.listdir("/dev") if name.startswith("nvidia"))
    return os.environ.get("CUDA_VISIBLE_DEVICES"), nodes


@app.function(gpu="h100:2")
def two() -> tuple[str | None, list[str]]:
    return seen()


@app.function(gpu="h100:2", max_containers=4)
def two_slowly(_index: int) -> str | None:
    """Long enough for another container to be wanted."""
    time.sleep(0.2)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@app.function(gpu=["B200", "any:1"])
def whichever() -> tuple[str | None, list[str]]:
    return seen()


@app.function(gpu="B200")
def absent() -> str:
    return "there it is"


@app.function()
def none() -> tuple[str | None, list[str]]:
    return seen()


@app.function()
def asks_for_more() -> str:
    """Whether user code in a container may have GPUs that its function has not."""
    try:
        none.with_options(gpu="any").remote()
    except volant.errors.Error as error:
        return str(error)
    return "granted"


@app.function(memory=(64, 96), retries=GROWING)
def needs(size_mib: int) -> int:
    return len(bytearray(b"x") * (size_mib << 20))


@app.function(cpu=(0.5, 3))
def threads(name: str) -> str | None:
    return os.environ.get(name)


@app.function(cpu=2, env={"OMP_NUM_THREADS": "7"})
def threads_of_mine(name: str) -> str | None:
    return os.environ.get(name)


@app.function()
def threads_unasked(name: str) -> str | None:
    return os.environ.get(name)


@app.function(ephemeral_disk=32)
def writes(count: int) -> int:
    for index in range(count):
        Path(f"/tmp/{index}.bin").write_bytes(os.urandom(1 << 20))
        time.sleep(0.03)
    return count


@cuda_app.function(gpu="any")
def on_the_device(text: bytes) -> tuple[int, bytes]:
    """How many devices CUDA sees, and bytes that went to one and came back."""
    cuda = ctypes.CDLL("libcuda.so.1")

    def do(name: str, *arguments: object) -> None:
        status = getattr(cuda, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} answered {status}")

    count, device = ctypes.c_int(), ctypes.c_int()
    context, memory = ctypes.c_void_p(), ctypes.c_uint64()
    do("cuInit", 0)
    do("cuDeviceGetCount", ctypes.byref(count))
    do("cuDeviceGet", ctypes.byref(device), 0)
    do("cuCtxCreate_v2", ctypes.byref(context), 0, device)
    do("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(len(text)))
    do("cuMemcpyHtoD_v2", memory, text, ctypes.c_size_t(len(text)))
    back = ctypes.create_string_buffer(len(text))
    do("cuMemcpyDtoH_v2", back, memory, ctypes.c_size_t(len(text)))
    return count.value, back.raw
