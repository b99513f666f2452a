"""What a reader must know of the machine to judge a figure."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Cores, memory, kernel, versions, and the load before anything was started."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": pages * page_bytes / (1 << 30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "volant": _version("volant"),
        "ray": _version("ray"),
        "numpy": _version("numpy"),
        "user": "root" if os.geteuid() == 0 else "a normal user",
        "load_average": list(os.getloadavg()),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "rung": "unknown",
    }


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def resident_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Resident memory of a process; 0 when it is gone."""
    try:
        fields = (proc / str(pid) / "statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
