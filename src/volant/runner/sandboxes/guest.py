"""The first process on gVisor's kernel: makes the sandbox's root directory its own, and holds it.

Started as `gvisor` describes, with the channel to the agent as standard input. What it begins with
is this machine's interpreter and libraries; nothing of them is in reach once it has changed its
root directory and given up the right to do that again. Its filter is that of containers, so that
the same is refused on both. It imports no more than it needs, for files are slow to open here.
"""

from __future__ import annotations

import os
import sys

from volant.runner import isolate, linux, seccomp
from volant.runner.sandboxes import holding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: Where the root directory of the sandbox is at first.
IMAGE = "/image"
#: Said of a sandbox whose files may have set-user-id bits.
SETS_IDS = "set-ids"


def main() -> NoReturn:
    """Hold the sandbox. Arguments: where its commands work, SETS_IDS, limits as `name=number`."""
    cwd, bits, *words = sys.argv[1:]
    channel_fd = os.dup(0)
    os.chroot(IMAGE)
    isolate.enter_directory(cwd)
    linux.drop_bounding_set(isolate.SANDBOX_CAPABILITIES)
    linux.capset(isolate.SANDBOX_CAPABILITIES)
    pairs = [word.partition("=") for word in words]
    isolate.limit_resources({name: int(value) for name, _, value in pairs})
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.install_seccomp(seccomp.build(may_set_ids=bits == SETS_IDS))
    holding.serve(channel_fd)
