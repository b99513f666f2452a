"""An app that is described to the hub and does not run: it takes the place of one that does.

What an app is can only be known when its program has been imported, and its containers import it
as well, for which the hub needs no more than its files. So the files are sent ahead, with all else
as it was in the version before; both imports then take place at the same time.
"""

from __future__ import annotations

import os
from errno import EFBIG

from volant.errors import Error
from volant.sdk.running import RunningApp
from volant.sdk.sources import Sources, sha256
from volant.wire import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.channel.channel import Channel

#: What a description says of this process and not of the app.
_OF_THE_CLIENT = ("base", "express")
#: Larger files are sent with the rest, in pieces.
_BYTES_MAX = 4 << 20


class Ahead:
    """The files of an app as they are now, sent before anything else is known of its version."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        #: Of the version that was staged, if one was.
        self.mark = b""
        self.staged_id = ""

    def stage(self, before: dict[str, Any], local_paths: dict[str, str]) -> None:
        """Stage what the app would be if only its files had changed; does nothing if that fails.

        Args:
            before: how the version before was described.
            local_paths: of its files, by their paths in containers.
        """
        try:
            sources = _read(before["files"], local_paths)
            base = self._channel.lane_tokens.next_functions(len(before["functions"]))
            description = {**before, "files": sources.files, "base": base, "express": b""}
            reply = self._channel.request("app_open", app=description, staged=True)
            need = [digest for digest in reply["need"] if digest in sources.contents]
            for digest in need:
                data = sources.contents[digest]
                self._channel.tell("upload", sha256=digest, offset=0, size=len(data), data=data)
            if len(need) < len(reply["need"]):
                return  # of an image: it is staged when all is known
        except (Error, OSError, KeyError):
            return  # what is wrong is told when all is known
        self.staged_id, self.mark = reply["app_id"], mark_of(description)


def _read(files: list[list[Any]], local_paths: dict[str, str]) -> Sources:
    """The files as they are now.

    Raises:
        OSError: when one is not there any more, or larger than one message takes.
        KeyError: for one that does not lie on this machine.
    """
    sources = Sources()
    for remote, *_ in files:
        with open(local_paths[remote], "rb") as file:
            content = file.read(_BYTES_MAX + 1)
            mode = os.fstat(file.fileno()).st_mode & 0o777
        if len(content) > _BYTES_MAX:
            raise OSError(EFBIG, "too large to be sent ahead", remote)
        digest = sha256(content).hexdigest()
        sources.files.append([remote, mode, digest, len(content)])
        sources.contents[digest] = content
    return sources


def is_current(files: list[list[Any]], local_paths: dict[str, str]) -> bool:
    """Whether files are as they were when an app was described."""
    try:
        return _read(files, local_paths).files == files
    except OSError:
        return False


def mark_of(description: dict[str, Any]) -> bytes:
    """Equal for descriptions of versions that are the same."""
    told = {key: description[key] for key in description if key not in _OF_THE_CLIENT}
    digest: bytes = sha256(values.encode(told)).digest()
    return digest


class StagedApp(RunningApp):
    """One version of an app, on its way to take the place of the one before."""

    _staged_id = ""

    def describe(self) -> bytes:
        """Find out what the app is; returns a mark that is equal for versions that are.

        Raises:
            InvalidError: for an app that cannot be described.
        """
        self.description = self._describe()
        return mark_of(self.description)

    def stage(self, ahead: Ahead) -> None:
        """Send what the hub has not got, and wait until all images are built.

        Raises:
            Error: when one cannot be built, or the hub refuses the app.
        """
        if ahead.mark == mark_of(self.description):
            self._staged_id = ahead.staged_id
            return
        reply = self.channel.request("app_open", app=self.description, staged=True)
        self._staged_id = reply["app_id"]
        self._upload(reply["need"])
        self._name_images(reply)
        self._have_images_built()

    def update(self, app_id: str) -> dict[str, Any]:
        """Have it take the place of an app that runs; that keeps its id.

        Returns:
            `functions`, the names of those that it has now.

        Raises:
            BaseException: what its program raises where a container imports it; then the app
                is what it was.
        """
        return self.channel.request("app_update", app_id=app_id, staged=self._staged_id)
