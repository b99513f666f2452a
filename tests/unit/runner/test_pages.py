"""Huge pages for what a template has loaded."""

from __future__ import annotations

import ctypes
import mmap
import re
from pathlib import Path

from volant.runner.template import pages

MIB = 1 << 20


def mapping(begin: int, end: int, permissions: str, anonymous_kib: int) -> list[str]:
    return [
        f"{begin:x}-{end:x} {permissions} 00000000 00:00 0 \n",
        f"Size:  {(end - begin) >> 10} kB\n",
        f"Anonymous:  {anonymous_kib} kB\n",
        "VmFlags: rd wr mr mw me ac sd \n",
    ]


def test_only_what_is_private_large_and_nearly_full_is_moved() -> None:
    lines = [
        *mapping(1 * MIB, 10 * MIB, "rw-p", 9 << 10),
        *mapping(10 * MIB, 20 * MIB, "rw-p", 3 << 10),
        *mapping(20 * MIB, 30 * MIB, "rw-s", 10 << 10),
        *mapping(30 * MIB, 40 * MIB, "r--p", 10 << 10),
        *mapping(40 * MIB, 43 * MIB, "rw-p", 3 << 10),
        *mapping(44 * MIB, 48 * MIB, "rw-p", 4 << 10),
    ]
    assert pages.worthwhile(lines) == [(2 * MIB, 10 * MIB), (44 * MIB, 48 * MIB)]


def test_what_is_moved_keeps_its_content() -> None:
    with mmap.mmap(-1, 16 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for at in range(0, len(memory), 4096):
            memory[at : at + 4] = at.to_bytes(4, "little")
        pages.collapse()
        assert all(
            memory[at : at + 4] == at.to_bytes(4, "little") for at in range(0, len(memory), 4096)
        )
        if kernel() >= (6, 1) and Path("/sys/kernel/mm/transparent_hugepage").exists():
            assert huge_bytes_around(memory) >= 8 * MIB


def kernel() -> tuple[int, ...]:
    release = Path("/proc/sys/kernel/osrelease").read_text()
    return tuple(map(int, re.findall(r"\d+", release)[:2]))


def huge_bytes_around(memory: mmap.mmap) -> int:
    """Bytes in huge pages of the kernel's mapping that holds the middle of `memory`."""
    view = ctypes.c_char.from_buffer(memory, len(memory) // 2)
    middle = ctypes.addressof(view)
    del view
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            low, high = (int(part, 16) for part in name.split("-"))
            inside = low <= middle < high
        elif name == "AnonHugePages:" and inside:
            return int(rest.split()[0]) << 10
    raise AssertionError("no mapping holds it")
