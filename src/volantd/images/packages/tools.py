"""What a step that installs is lent, in a lower layer of its own: uv, its task, authorities.

The daemon's own uv runs in images that have the GNU C library. For others there is one that needs
nothing, of the same version: fetched once, when an image wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import tempfile
from typing import TYPE_CHECKING

import uv

from volant.errors import ImageBuildError
from volant.runner.view.places import OWN_DIR
from volantd import syncing
from volantd.images.files import put
from volantd.images.packages import indexes
from volantd.images.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

TASK_DIR = OWN_DIR + "/install"
UV = OWN_DIR + "/bin/uv"
CERTIFICATES = TASK_DIR + "/certificates.pem"
FETCHED_WITHIN_S = 600.0


def lend(lower: str, program: str, files: Mapping[str, bytes], points: tuple[str, ...]) -> None:
    """Fill a lower layer.

    Args:
        lower: its directory.
        program: uv, on this machine.
        files: what lies in `TASK_DIR`, by name.
        points: directories that will be mounted; found here, they leave nothing in the layer.
    """
    for path in (os.path.dirname(UV), TASK_DIR, *points):
        os.makedirs(lower + path, 0o755, exist_ok=True)
    try:
        os.link(program, lower + UV)
    except OSError:  # another file system
        shutil.copy(program, lower + UV)
    trusted = indexes.certificates()
    if trusted is not None:
        shutil.copyfile(trusted, lower + CERTIFICATES)
    for name, content in files.items():
        put(os.path.join(lower + TASK_DIR, name), content)


def variables() -> dict[str, str]:
    """How programs are told of what is lent."""
    if indexes.certificates() is None:
        return {}
    return dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), CERTIFICATES)


def own_uv() -> str:
    """The daemon's own uv."""
    return uv.find_uv_bin()


async def static_uv(home: str) -> str:
    """A uv that needs no libraries, fetched when it is not there.

    Args:
        home: a directory in which it is kept, and which no step sees.

    Raises:
        ImageBuildError: when it cannot be fetched.
    """
    import importlib.metadata  # 4 ms of every start of a daemon, for what few images want

    version = importlib.metadata.version("uv")
    kept = os.path.join(home, f"uv-{version}")
    if not os.path.exists(kept):
        with tempfile.TemporaryDirectory(dir=home) as place:
            await _fetch(version, place)
            syncing.sync(os.path.join(place, "bin/uv"))
            os.replace(os.path.join(place, "bin/uv"), kept)
    return kept


def _trusting() -> dict[str, str]:
    """How uv is told to trust whom this machine trusts, and not its own list alone."""
    trusted = indexes.certificates()
    return {} if trusted is None else {"SSL_CERT_FILE": trusted}


async def _fetch(version: str, place: str) -> None:
    process = await asyncio.create_subprocess_exec(
        own_uv(), "pip", "install", "--no-config", "--no-cache", "--no-deps", "--quiet",
        "--only-binary", ":all:", "--target", place, "--python-version", "3.12",
        "--python-platform", f"{platform.machine()}-unknown-linux-musl", f"uv=={version}",
        env={**os.environ, **_trusting(), **indexes.of_machine().variables()},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(FETCHED_WITHIN_S):
            _, complaint = await process.communicate()
    except TimeoutError:
        complaint = b"it took too long"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode:
        hidden = indexes.credentials(indexes.of_machine().variables().values())
        raise ImageBuildError(
            f"uv {version} for images without the GNU C library could not be fetched: "
            + redacted(complaint.decode("utf-8", "replace").strip(), hidden),
        )
