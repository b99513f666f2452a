"""Every error and warning that Volant raises on purpose, as one tree.

Owns the names, their stable codes and whether repeating the same request may help. Knows no
transport and formats nothing for a terminal. Imports nothing but `builtins`, because every program
that uses Volant loads it; for the same reason the kinds that few programs meet are in
`volant._late_errors` and are built on first use.

Error:
    |-- AlreadyExistsError                            VOL-ALREADY-EXISTS
    |-- AuthError                                     VOL-AUTH
    |-- ClientClosed                                  VOL-CLIENT-CLOSED
    |-- ConnectionError                               VOL-CONNECTION (r)
    |-- DataLossError                                 VOL-DATA-LOSS
    |-- DeserializationError                          VOL-DESERIALIZATION
    |-- ExecutionError                                VOL-EXECUTION
    |-- InternalError                                 VOL-INTERNAL
    |-- InternalFailure                               VOL-INTERNAL-FAILURE (r)
    |-- InvalidError                                  VOL-INVALID
    |   `-- ConflictError                             VOL-CONFLICT
    |-- LogsFetchError                                VOL-LOGS-FETCH
    |-- ModuleNotMountable                            VOL-MODULE-NOT-MOUNTABLE
    |-- NotFoundError                                 VOL-NOT-FOUND
    |-- PermissionDeniedError                         VOL-PERMISSION-DENIED
    |-- RemoteError                                   VOL-REMOTE
    |   `-- ImageBuildError                           VOL-IMAGE-BUILD
    |-- RequestSizeError                              VOL-REQUEST-SIZE
    |-- ResourceExhaustedError                        VOL-RESOURCE-EXHAUSTED (r)
    |-- SandboxFilesystemError                        VOL-SANDBOX-FILESYSTEM
    |   |-- SandboxFilesystemDirectoryNotEmptyError   VOL-SANDBOX-DIRECTORY-NOT-EMPTY
    |   |-- SandboxFilesystemFileTooLargeError        VOL-SANDBOX-FILE-TOO-LARGE
    |   |-- SandboxFilesystemIsADirectoryError        VOL-SANDBOX-IS-A-DIRECTORY
    |   |-- SandboxFilesystemNotADirectoryError       VOL-SANDBOX-NOT-A-DIRECTORY
    |   |-- SandboxFilesystemNotFoundError            VOL-SANDBOX-PATH-NOT-FOUND
    |   |-- SandboxFilesystemPathAlreadyExistsError   VOL-SANDBOX-PATH-EXISTS
    |   `-- SandboxFilesystemPermissionError          VOL-SANDBOX-PERMISSION
    |-- SandboxTerminatedError                        VOL-SANDBOX-TERMINATED
    |-- SerializationError                            VOL-SERIALIZATION
    |-- ServiceError                                  VOL-SERVICE (r)
    |-- SnapshotCreationError                         VOL-SNAPSHOT-CREATION
    |-- TimeoutError                                  VOL-TIMEOUT
    |   |-- ExecTimeoutError                          VOL-EXEC-TIMEOUT
    |   |-- FunctionTimeoutError                      VOL-FUNCTION-TIMEOUT
    |   |-- InteractiveTimeoutError                   VOL-INTERACTIVE-TIMEOUT (r)
    |   |-- MountUploadTimeoutError                   VOL-MOUNT-UPLOAD-TIMEOUT (r)
    |   |-- OutputExpiredError                        VOL-OUTPUT-EXPIRED
    |   |-- SandboxTimeoutError                       VOL-SANDBOX-TIMEOUT
    |   `-- VolumeUploadTimeoutError                  VOL-VOLUME-UPLOAD-TIMEOUT (r)
    |-- UnimplementedError                            VOL-UNIMPLEMENTED
    |-- VersionError                                  VOL-VERSION
    `-- WorkspaceManagementError                      VOL-WORKSPACE-MANAGEMENT

    BaseException
    `-- InputCancellation                             VOL-INPUT-CANCELLED

    UserWarning
    |-- AsyncUsageWarning
    |-- DeprecationError
    |-- InternalAPIWarning
    `-- ServerWarning

(r) marks the retryable ones. A code never changes its meaning and is never given out again. The
first sentence of a class says when it is raised, the rest what to do about it, and
`docs/reference/errors.md` is made from both.

An exception of the user's own function is not wrapped: it is raised as its own type.
"""

from __future__ import annotations

import builtins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant._late_errors import (
        DataLossError as DataLossError,
        ExecTimeoutError as ExecTimeoutError,
        ImageBuildError as ImageBuildError,
        InteractiveTimeoutError as InteractiveTimeoutError,
        InternalAPIWarning as InternalAPIWarning,
        LogsFetchError as LogsFetchError,
        ModuleNotMountable as ModuleNotMountable,
        MountUploadTimeoutError as MountUploadTimeoutError,
        RequestSizeError as RequestSizeError,
        SandboxFilesystemDirectoryNotEmptyError as SandboxFilesystemDirectoryNotEmptyError,
        SandboxFilesystemError as SandboxFilesystemError,
        SandboxFilesystemFileTooLargeError as SandboxFilesystemFileTooLargeError,
        SandboxFilesystemIsADirectoryError as SandboxFilesystemIsADirectoryError,
        SandboxFilesystemNotADirectoryError as SandboxFilesystemNotADirectoryError,
        SandboxFilesystemNotFoundError as SandboxFilesystemNotFoundError,
        SandboxFilesystemPathAlreadyExistsError as SandboxFilesystemPathAlreadyExistsError,
        SandboxFilesystemPermissionError as SandboxFilesystemPermissionError,
        SandboxTerminatedError as SandboxTerminatedError,
        SandboxTimeoutError as SandboxTimeoutError,
        SnapshotCreationError as SnapshotCreationError,
        VolumeUploadTimeoutError as VolumeUploadTimeoutError,
        WorkspaceManagementError as WorkspaceManagementError,
    )


class Error(Exception):
    """Any failure that Volant itself reports. Catch it to tell Volant's failures from your own."""

    #: Stable identity of this kind of failure.
    code: str = "VOL-ERROR"
    #: Whether the same request, unchanged, may succeed later.
    retryable: bool = False

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        """Keep both texts.

        Args:
            message: what failed, with the value at fault; not the cause, which is chained.
            hint: what to do about it; tracebacks show it below the message.
        """
        super().__init__(message)
        self.hint = hint
        if hint:
            # Shown by every traceback since Python 3.11, and kept by pickle.
            self.__notes__ = [f"hint: {hint}"]

    @property
    def message(self) -> str:
        """What failed, without the hint."""
        return str(self.args[0]) if self.args else ""


class AlreadyExistsError(Error):
    """Something of that name exists. Choose another name, or pass `allow_existing=True`."""

    code = "VOL-ALREADY-EXISTS"


class AuthError(Error):
    """A token is missing, malformed or refused. Check the token that this client is set up with."""

    code = "VOL-AUTH"


class ClientClosed(Error):
    """The client or the detached handle was closed before. Make a new one."""

    code = "VOL-CLIENT-CLOSED"


class ConnectionError(Error, builtins.ConnectionError):
    """The daemon cannot be reached, or the connection to it broke. See `volant server status`."""

    code = "VOL-CONNECTION"
    retryable = True


class DeserializationError(Error):
    """A value cannot be unpickled here. Have the same modules and versions on both sides."""

    code = "VOL-DESERIALIZATION"


class ExecutionError(Error):
    """An operation does not fit the moment, such as a call before its app runs.

    Do the step it names first.
    """

    code = "VOL-EXECUTION"


class InternalError(Error):
    """Volant met a state that it holds to be impossible. Report it with the id in the message."""

    code = "VOL-INTERNAL"


class InternalFailure(Error):
    """The platform lost an input more often than it retries, such as a container that keeps dying.

    The message names the last cause.
    """

    code = "VOL-INTERNAL-FAILURE"
    retryable = True


class InvalidError(Error):
    """An argument, a decorator or a form of call is not allowed. Change it as the message says."""

    code = "VOL-INVALID"


class ConflictError(InvalidError):
    """The state it was meant for has changed meanwhile.

    Look at the present state and decide again.
    """

    code = "VOL-CONFLICT"


class NotFoundError(Error):
    """A named or identified thing does not exist, or no longer.

    Check name, environment and spelling.
    """

    code = "VOL-NOT-FOUND"


class PermissionDeniedError(Error):
    """The token is valid but may not do this. Ask for a role that may."""

    code = "VOL-PERMISSION-DENIED"


class RemoteError(Error):
    """Something failed remotely and cannot be shown as its own type. Its text is in the message."""

    code = "VOL-REMOTE"


class ResourceExhaustedError(Error):
    """A quota, a rate limit or a limit on waiting inputs is reached. Wait, or raise the limit."""

    code = "VOL-RESOURCE-EXHAUSTED"
    retryable = True


class SerializationError(Error):
    """An argument or a result cannot be pickled.

    Pass something that can, such as a path or a plain value.
    """

    code = "VOL-SERIALIZATION"


class ServiceError(Error):
    """The service failed to answer although asked again. See `volant server logs`."""

    code = "VOL-SERVICE"
    retryable = True


class TimeoutError(Error, builtins.TimeoutError):
    """Something took longer than it was given. Give it more time, or ask again later."""

    code = "VOL-TIMEOUT"


class FunctionTimeoutError(TimeoutError):
    """A function ran longer than its `timeout` in every attempt.

    Raise `timeout`, or split the work.
    """

    code = "VOL-FUNCTION-TIMEOUT"


class OutputExpiredError(TimeoutError):
    """The result is no longer kept. Call the function again."""

    code = "VOL-OUTPUT-EXPIRED"


class UnimplementedError(Error):
    """This part of the programming model is not in this version. The message names it."""

    code = "VOL-UNIMPLEMENTED"


class VersionError(Error):
    """Client and daemon are of versions that do not fit. Upgrade the older one."""

    code = "VOL-VERSION"


class InputCancellation(BaseException):
    """The input that runs now was cancelled. Clean up and let it pass: it is not an `Exception`."""

    code: str = "VOL-INPUT-CANCELLED"
    retryable: bool = False

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        """As `Error`."""
        super().__init__(message)
        self.hint = hint


class AsyncUsageWarning(UserWarning):
    """A blocking call was made where an event loop runs. Await the `.aio` form instead."""


class DeprecationError(UserWarning):
    """Something is about to go, or has gone. Use the successor that the message names."""


class ServerWarning(UserWarning):
    """The daemon has something to say about a request that succeeded otherwise."""


if not TYPE_CHECKING:

    def __getattr__(name: str) -> type:
        # An import statement asks for `__path__`, which must not cost it the late ones.
        if not name.startswith("_"):
            from volant import _late_errors

            if name in _late_errors.NAMES:
                return getattr(_late_errors, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
