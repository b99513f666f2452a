"""Stores that speak the language of S3, started on this machine by the tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import volant
from tests.support import eventually, free_port
from volant.errors import Error
from volantd.agent.volumes import stores

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "photos"
KEY_ID, KEY = "AKTEST", "wJalrXUtnFEMIbPxRfiCYEXAMPLE/KEY"
SECRET = volant.Secret.from_dict({"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": KEY})
SCRIPTS = Path(sys.executable).parent
#: SeaweedFS has another port for gRPC so far above each: what connections get lies above both.
GRPC_ABOVE = 10_000
START_S = 60.0


class Store:
    """A store with one bucket."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, directory: Path) -> None:
        self.process = process
        self.url = url
        #: Where the objects of a bucket are files; of `plain_store` only.
        self.directory = directory
        self._env = {
            "PATH": os.defpath, "HOME": "/nonexistent", "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CONFIG_S_TYPE": "s3", "RCLONE_CONFIG_S_PROVIDER": "Other",
            "RCLONE_CONFIG_S_ENDPOINT": url, "RCLONE_CONFIG_S_ACCESS_KEY_ID": KEY_ID,
            "RCLONE_CONFIG_S_SECRET_ACCESS_KEY": KEY,
        }  # fmt: skip

    def mount(self, **given: object) -> volant.CloudBucketMount:
        """A mount of its bucket."""
        options = {"bucket_endpoint_url": self.url, "secret": SECRET, **given}
        return volant.CloudBucketMount(BUCKET, **options)

    def client(self, *words: str, stdin: bytes = b"") -> bytes:
        """What another client of the store prints."""
        command = [SCRIPTS / "rclone", *words]
        return subprocess.run(
            command, input=stdin, env=self._env, check=True, capture_output=True, timeout=60
        ).stdout

    def put(self, key: str, content: bytes) -> None:
        """Have an object."""
        self.client("rcat", f"s:{BUCKET}/{key}", stdin=content)

    def get(self, key: str) -> bytes:
        """The content of an object."""
        return self.client("cat", f"s:{BUCKET}/{key}")

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def plain_store(directory: Path) -> Iterator[Store]:
    """rclone's own server, whose objects are files below a directory."""
    (directory / BUCKET).mkdir(parents=True)
    process = subprocess.Popen(
        [SCRIPTS / "rclone", "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key",
         f"{KEY_ID},{KEY}", "--config", "/dev/null", "--dir-cache-time", "0",
         "--etag-hash", "", directory],
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        if found := re.search(rb"\[(http://[0-9.:]+)", line):
            url = found[1].decode()
            break
    store = Store(process, url, directory / BUCKET)
    try:
        yield store
    finally:
        store.kill()
        process.stderr.close()


@contextlib.contextmanager
def weed_store(directory: Path) -> Iterator[Store]:
    """SeaweedFS: master, volume server, filer and S3 in one process."""
    program = shutil.which("weed", path=str(SCRIPTS))
    if program is None:
        pytest.skip("SeaweedFS is not built for this machine")
    directory.mkdir(parents=True)
    keys = {"credentials": [{"accessKey": KEY_ID, "secretKey": KEY}], "name": "tests"}
    keys["actions"] = ["Admin", "Read", "Write", "List"]
    (directory / "keys.json").write_text(json.dumps({"identities": [keys]}))
    ports = _free_ports(4)
    names = ("s3.port", "master.port", "volume.port", "filer.port")
    process = subprocess.Popen(
        [program, "-logtostderr=true", "server", f"-dir={directory}", "-ip=127.0.0.1",
         "-ip.bind=127.0.0.1", "-s3", f"-s3.config={directory}/keys.json", "-s3.port.iceberg=0",
         "-volume.max=50", "-master.volumeSizeLimitMB=1024",
         *(f"-{name}={port}" for name, port in zip(names, ports, strict=True))],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    store = Store(process, f"http://127.0.0.1:{ports[0]}", directory)
    try:
        eventually(lambda: _made(store), within_s=START_S, every_s=0.2)
        yield store
    finally:
        store.kill()


def _made(store: Store) -> bool:
    with contextlib.suppress(subprocess.CalledProcessError):
        store.client("mkdir", f"s:{BUCKET}", "--retries", "1", "--low-level-retries", "1")
        store.client("rcat", f"s:{BUCKET}/ready", "--retries", "1", stdin=b"yes")
    row = store.mount()._row("/data")["bucket"]
    with contextlib.suppress(Error):
        stores.ask(stores.Bucket.of(row, row["secrets"]), 5.0)
        return store.get("ready") == b"yes"
    return False


def _free_ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port(room_above=GRPC_ABOVE))
    return list(found)
