"""The GPUs of this machine: found by their driver's library, and given to containers.

NVML is asked once, on a thread, and only where the driver has made its control node: so a machine
without GPUs pays one look at a file. No container, zygote or template sees a device but those that
were granted to it; which, the core decides.
"""

from __future__ import annotations

import logging
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volant.gpus import model_of
from volantd.core import Gpu
from volantd.runtime.client import RuntimeFailedError
from volantd.runtime.devices.granting import node_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from volantd.agent.bare import Machine
    from volantd.runtime.client import ForkedContainer

log = logging.getLogger(__name__)

DEV = "/dev"
CONTROL_NODE = "nvidiactl"
#: Nodes that every user of the driver needs besides its devices.
CONTROL_NODES = (CONTROL_NODE, "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
#: A directory of nodes that stand for rights; most may be opened by root of the host only.
CAPABILITY_NODES = "nvidia-caps"
#: Libraries of the driver: they belong to the kernel's part of it, so no image can bring them.
_LIBRARIES = ("libcuda.so.", "libcudadebugger.so.", "libnvcuvid.so.", "libnvidia-")
_ARCHITECTURES = ("x86-64", "AArch64")
LDCONFIG_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device as its driver describes it."""

    gpu: Gpu
    #: As the driver calls it.
    name: str
    memory_bytes: int
    #: The name of its node.
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What a machine has."""

    devices: tuple[Device, ...] = ()
    #: Where the nodes are.
    dev: str = DEV
    #: Files of the driver that built images lack: path and name.
    files: tuple[tuple[str, str], ...] = ()
    #: Why there are none although there is a driver; "" otherwise.
    problem: str = ""

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The devices as the core knows them."""
        return tuple(device.gpu for device in self.devices)


def discover() -> Installed:
    """Find the devices of this machine; may take a while where there are some."""
    if not os.path.exists(f"{DEV}/{CONTROL_NODE}"):
        return Installed()
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            count = pynvml.nvmlDeviceGetCount()
            devices = tuple(_described(pynvml, index) for index in range(count))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        return Installed(problem=f"no GPU can be used, as its driver says: {error}")
    return Installed(devices=devices, files=_files())


def _described(nvml: Any, index: int) -> Device:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = _text(nvml.nvmlDeviceGetName(handle))
    memory_bytes = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    gpu = Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        model=model_of(name, memory_bytes),
    )
    node = f"nvidia{nvml.nvmlDeviceGetMinorNumber(handle)}"
    return Device(gpu=gpu, name=name, memory_bytes=memory_bytes, node=node)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _files() -> tuple[tuple[str, str], ...]:
    try:
        listed = subprocess.run(
            ["/sbin/ldconfig", "-p"], capture_output=True, timeout=LDCONFIG_TIMEOUT_S, check=True,
            text=True, errors="surrogateescape", env={"LC_ALL": "C"},
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("driver_files_unknown", extra={"fields": {"error": str(error)}})
        return ()
    return driver_files(listed.splitlines())


def driver_files(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    r"""The libraries of the driver among what `ldconfig -p` lists: path and name.

    Example:
        >>> driver_files(["\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/libcuda.so.1"])
        (('/usr/lib/libcuda.so.1', 'libcuda.so.1'),)
    """
    found: dict[str, str] = {}
    for line in lines:
        head, arrow, path = line.strip().partition(" => ")
        name, _, kind = head.partition(" ")
        fits = any(architecture in kind for architecture in _ARCHITECTURES)
        if arrow and fits and name.startswith(_LIBRARIES) and "/" not in name:
            found.setdefault(name, os.path.realpath(path))
    return tuple((path, name) for name, path in found.items())


def variables(machine: Machine, gpus: tuple[Gpu, ...]) -> dict[str, str]:
    """The variables that tell a container's libraries which devices are its own."""
    if not machine.installed.devices:
        return {}
    # By their names for ever, which are right whatever else is visible.
    names = ",".join(gpu.uuid for gpu in gpus)
    return {"CUDA_VISIBLE_DEVICES": names, "NVIDIA_VISIBLE_DEVICES": names or "void"}


async def grant(
    machine: Machine, gpus: tuple[Gpu, ...], container: ForkedContainer, *, is_built: bool
) -> None:
    """Give a container that has not begun the devices that are its own.

    The rung `process` cannot hide devices, so there only the variables tell them apart.

    Args:
        machine: this machine.
        gpus: what the core granted; without any nothing happens.
        container: on the rung in force.
        is_built: it lives in a built image, which lacks the driver's libraries.

    Raises:
        RuntimeFailedError: when that cannot be done.
    """
    if not gpus or machine.rung.result() != "container":
        return
    installed = machine.installed
    own = [device.node for device in installed.devices if device.gpu in gpus]
    try:
        nodes = [node_of(f"{installed.dev}/{name}", installed.dev) for name in own]
        nodes += _control_nodes(installed.dev)
    except OSError as error:
        text = f"no node of a GPU: {error.strerror} ({error.filename})"
        raise RuntimeFailedError(text) from error
    files = [list(file) for file in installed.files] if is_built else []
    await machine.launcher.grant(container, nodes, files)


def _control_nodes(dev: str) -> list[list[Any]]:
    paths = [f"{dev}/{name}" for name in CONTROL_NODES]
    capabilities = f"{dev}/{CAPABILITY_NODES}"
    if os.path.isdir(capabilities):
        paths += [f"{capabilities}/{name}" for name in sorted(os.listdir(capabilities))]
    return [node_of(path, dev) for path in paths if os.path.exists(path)]


def rows(installed: Installed, owners: dict[Gpu, str]) -> list[dict[str, Any]]:
    """The devices as they are shown: each with the container that has it, "" for nobody."""
    return [
        {
            "index": device.gpu.index, "uuid": device.gpu.uuid, "model": device.gpu.model,
            "name": device.name, "memory_bytes": device.memory_bytes,
            "container_id": owners.get(device.gpu, ""),
        }
        for device in installed.devices
    ]  # fmt: skip
