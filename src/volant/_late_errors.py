"""The errors that few programs meet: built when first named, so that no start pays for them.

Part of `volant.errors`, which draws the whole tree and gives these out under its own name. Import
them from there.
"""

from __future__ import annotations

from volant.errors import Error, RemoteError, TimeoutError


class DataLossError(Error):
    """Stored data is damaged or gone.

    Restore it from a backup; repeating the request cannot help.
    """

    code = "VOL-DATA-LOSS"


class LogsFetchError(Error):
    """A query for logs cannot be answered. Ask for a shorter span."""

    code = "VOL-LOGS-FETCH"


class ModuleNotMountable(Error):
    """A module that shall travel to containers is not found here. Check its name and `sys.path`."""

    code = "VOL-MODULE-NOT-MOUNTABLE"


class ImageBuildError(RemoteError):
    """A step of an image failed. Read its log and change the step."""

    code = "VOL-IMAGE-BUILD"

    def __init__(
        self, message: str = "", *, hint: str | None = None, image_id: str | None = None
    ) -> None:
        """As `Error`; `image_id` is the image whose build failed."""
        super().__init__(message, hint=hint)
        self.image_id = image_id


class RequestSizeError(Error):
    """A value is too large for one request. Split it, or keep it in a volume."""

    code = "VOL-REQUEST-SIZE"


class SandboxFilesystemError(Error):
    """A file operation in a sandbox failed. The message names the path."""

    code = "VOL-SANDBOX-FILESYSTEM"


class SandboxFilesystemDirectoryNotEmptyError(SandboxFilesystemError):
    """A directory in a sandbox still has entries. Remove it with `recursive=True`."""

    code = "VOL-SANDBOX-DIRECTORY-NOT-EMPTY"


class SandboxFilesystemFileTooLargeError(SandboxFilesystemError):
    """A file in a sandbox is larger than one read may be. Copy it out instead."""

    code = "VOL-SANDBOX-FILE-TOO-LARGE"


class SandboxFilesystemIsADirectoryError(SandboxFilesystemError):
    """A path in a sandbox is a directory where a file is needed. Name a file."""

    code = "VOL-SANDBOX-IS-A-DIRECTORY"


class SandboxFilesystemNotADirectoryError(SandboxFilesystemError):
    """A path in a sandbox is a file where a directory is needed. Name a directory."""

    code = "VOL-SANDBOX-NOT-A-DIRECTORY"


class SandboxFilesystemNotFoundError(SandboxFilesystemError):
    """A path does not exist in the sandbox. List its parent."""

    code = "VOL-SANDBOX-PATH-NOT-FOUND"


class SandboxFilesystemPathAlreadyExistsError(SandboxFilesystemError):
    """A path exists in the sandbox already. Remove it, or choose another."""

    code = "VOL-SANDBOX-PATH-EXISTS"


class SandboxFilesystemPermissionError(SandboxFilesystemError):
    """The sandbox's own permissions forbid it. Change mode or owner in the sandbox."""

    code = "VOL-SANDBOX-PERMISSION"


class SandboxTerminatedError(Error):
    """The sandbox was ended by `terminate()` or by the platform. Create a new one."""

    code = "VOL-SANDBOX-TERMINATED"


class SnapshotCreationError(Error):
    """A snapshot could not be finished. The message names the reason."""

    code = "VOL-SNAPSHOT-CREATION"


class ExecTimeoutError(TimeoutError):
    """A command in a sandbox ran longer than its `timeout`. Raise the timeout."""

    code = "VOL-EXEC-TIMEOUT"


class InteractiveTimeoutError(TimeoutError):
    """No terminal connected in time. Try again."""

    code = "VOL-INTERACTIVE-TIMEOUT"
    retryable = True


class MountUploadTimeoutError(TimeoutError):
    """Source files took too long to send. Send fewer files, or try again."""

    code = "VOL-MOUNT-UPLOAD-TIMEOUT"
    retryable = True


class SandboxTimeoutError(TimeoutError):
    """A sandbox reached the end of its lifetime. Create it with a longer `timeout`."""

    code = "VOL-SANDBOX-TIMEOUT"


class VolumeUploadTimeoutError(TimeoutError):
    """Files took too long to send to a volume. Send fewer at once, or try again."""

    code = "VOL-VOLUME-UPLOAD-TIMEOUT"
    retryable = True


class WorkspaceManagementError(Error):
    """An administrative request failed. The message names the reason."""

    code = "VOL-WORKSPACE-MANAGEMENT"


class InternalAPIWarning(UserWarning):
    """Something without a promise of stability was used. Expect it to change."""


#: What `volant.errors` gives out from here.
NAMES = frozenset(
    name for name, kind in list(globals().items()) if getattr(kind, "__module__", "") == __name__
)
for _name in NAMES:
    globals()[_name].__module__ = "volant.errors"
