"""`rm -rf /`, after the same test has proven from inside that it harms nobody."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Zygote

#: How long everything may be removed.
REMOVAL_WITHIN_S = 15


def _listing(*places: str) -> dict[str, tuple[int, int, int]]:
    found = {}
    for place in places:
        for directory, _, names in os.walk(place):
            for name in names:
                path = os.path.join(directory, name)
                if "__pycache__" not in path:
                    info = os.lstat(path)
                    found[path] = (info.st_mode, info.st_size, info.st_mtime_ns)
    return found


@pytest.mark.slow
def test_removing_everything_removes_nothing_of_the_host(
    container_lab: Laboratory, zygote: Zygote, other: Container
) -> None:
    """Proves from inside that no file of the host can be written, then runs `rm -rf /`."""
    forked = container_lab.fork(zygote)
    mounts = forked.ask("result = open('/proc/self/mountinfo').read()").splitlines()
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        kind, options = after.split()[0], before.split()[5].split(",")
        harmless = kind in {"overlay", "tmpfs", "proc", "devpts", "devtmpfs"} or "ro" in options
        assert harmless, f"not isolated: {mount}"
    inside = forked.ask("import os; result = os.readlink('/proc/self/ns/mnt')")
    assert inside != os.readlink("/proc/self/ns/mnt")
    forked.ask("open('/usr/volant-was-here', 'w')") if os.geteuid() == 0 else None
    assert not os.path.lexists("/usr/volant-was-here"), "not isolated: the rest must not run"
    places = ["/usr/bin", "/usr/sbin", "/usr/share/doc", "/etc", sys.base_prefix,
              str(container_lab.sdk_dir)]  # fmt: skip
    before_removal = _listing(*places), os.listdir("/"), os.listdir("/usr")
    code = f"""
import os, subprocess
command = ["rm", "-rf", "--no-preserve-root", "/etc", "/usr/bin", "/root", "/usr/sbin", "/"]
try:
    subprocess.run(command, capture_output=True, timeout={REMOVAL_WITHIN_S})
except subprocess.TimeoutExpired:
    pass  # of many files, enough are gone to tell
result = os.path.exists("/usr/bin/rm")
"""
    is_still_there = forked.ask(code)
    if os.geteuid() == 0:
        assert not is_still_there, "it did remove what it saw"
    assert (_listing(*places), os.listdir("/"), os.listdir("/usr")) == before_removal
    assert other.ask("import subprocess; result = subprocess.run(['ls', '/usr/bin'],"
                     " capture_output=True).returncode") == 0  # fmt: skip
    forked.end()
    container_lab.fork(zygote).end()
