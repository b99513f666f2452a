"""What is made of the driver's answers, and of the loader's list of libraries."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from volantd.agent import gpus
from volantd.core import Gpu

if TYPE_CHECKING:
    from pathlib import Path


class Driver:
    """Answers like the driver's library on a machine with two devices, whose nodes are swapped."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # as the library has it
        return index

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return ("NVIDIA A100-SXM4-80GB", b"Tesla T4")[handle]  # old versions of it give bytes

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> object:
        return type("Info", (), {"total": (80, 16)[handle] << 30})

    def nvmlDeviceGetMinorNumber(self, handle: int) -> int:
        return 1 - handle


def test_a_device_is_described_by_model_name_memory_and_node():
    large, small = (gpus._described(Driver(), index) for index in range(2))
    assert large.gpu == Gpu(index=0, uuid="GPU-0", model="A100-80GB")
    assert (large.name, large.memory_bytes, large.node) == (
        "NVIDIA A100-SXM4-80GB", 80 << 30, "nvidia1",
    )  # fmt: skip
    assert (small.gpu.model, small.name, small.node) == ("T4", "Tesla T4", "nvidia0")


def test_a_machine_without_a_driver_is_not_asked():
    if os.path.exists(f"{gpus.DEV}/{gpus.CONTROL_NODE}"):
        pytest.skip("this machine has a GPU")
    assert gpus.discover() == gpus.Installed()
    assert "pynvml" not in sys.modules


def test_libraries_of_the_driver_are_found_among_all(tmp_path: Path):
    real = tmp_path / "libcuda.so.550.1"
    real.touch()
    (tmp_path / "libcuda.so.1").symlink_to(real.name)
    lines = [
        "1234 libs found in cache `/etc/ld.so.cache'",
        f"\tlibcuda.so.1 (libc6,x86-64) => {tmp_path}/libcuda.so.1",
        "\tlibcuda.so.1 (libc6) => /usr/lib32/libcuda.so.1",
        f"\tlibnvidia-ml.so.1 (libc6,AArch64) => {tmp_path}/libnvidia-ml.so.1",
        "\tlibcudart.so.12 (libc6,x86-64) => /usr/lib/libcudart.so.12",
        "\tlibc.so.6 (libc6,x86-64) => /lib/libc.so.6",
        "nonsense",
    ]
    assert gpus.driver_files(lines) == (
        (str(real), "libcuda.so.1"),
        (str(tmp_path / "libnvidia-ml.so.1"), "libnvidia-ml.so.1"),
    )


def test_nodes_are_those_that_are_there_with_their_modes(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("only root can make device nodes")
    (tmp_path / "nvidia-caps").mkdir()
    for name, mode in (("nvidiactl", 0o666), ("nvidia-caps/nvidia-cap1", 0o400)):
        os.mknod(tmp_path / name, stat.S_IFCHR | mode, os.makedev(1, 3))
        (tmp_path / name).chmod(mode)
    assert gpus._control_nodes(str(tmp_path)) == [
        ["nvidiactl", 1, 3, 0o666], ["nvidia-caps/nvidia-cap1", 1, 3, 0o400],
    ]  # fmt: skip


def test_what_is_no_device_is_not_given_as_one(tmp_path: Path):
    (tmp_path / "nvidiactl").write_text("a file")
    with pytest.raises(OSError, match="no device node"):
        gpus._control_nodes(str(tmp_path))
