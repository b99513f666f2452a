"""Who uses a mount of a container: which process has which file of it open."""

from __future__ import annotations

import asyncio
import os

from volantd.agent.written import Processes

#: How many uses are told.
TOLD_MAX = 3


async def in_words(pid: int, target: str) -> str:
    """What keeps a mount busy.

    Args:
        pid: of the container's first process.
        target: where it is mounted, as the container sees it.
    """
    found = await asyncio.to_thread(uses, pid, target)
    if not found:
        return f"something below {target} is in use"
    told = [f"{path} is {how} by process {inner} ({name})" for path, how, inner, name in found]
    return ", ".join(told[:TOLD_MAX]) + (", and others" if len(told) > TOLD_MAX else "")


def uses(pid: int, target: str) -> list[tuple[str, str, int, str]]:
    """Uses of a mount: path, how it is used, process as the container knows it, its name."""
    found = []
    for one in sorted(Processes().of(pid)):
        for path, how in _paths(one):
            if path == target or path.startswith(target + "/"):
                found.append((path, how, _inner_pid(one), _name(one)))
    return found


def _paths(pid: int) -> list[tuple[str, str]]:
    """What a process uses: path in its own view, and how."""
    found = []
    for how, name in (("the working directory", "cwd"), ("the root", "root")):
        found.append((_link(f"/proc/{pid}/{name}"), how))
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        numbers = []
    found += [(_link(f"/proc/{pid}/fd/{number}"), "open") for number in numbers]
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as source:
            mapped = {line.split(None, 5)[5].strip() for line in source if line.count(" ") > 5}
    except (OSError, IndexError):
        mapped = set()
    return found + [(path, "mapped") for path in sorted(mapped)]


def _link(path: str) -> str:
    try:
        return os.readlink(path).removesuffix(" (deleted)")
    except OSError:
        return ""


def _inner_pid(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as source:
            for line in source:
                if line.startswith("NSpid:"):
                    return int(line.split()[-1])
    except OSError:
        pass
    return pid


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as source:
            return source.read().strip()
    except OSError:
        return "?"
