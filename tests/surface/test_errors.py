"""The error tree is a promise: its names, its codes and its document (behaviours 5, 8 and 141)."""

from __future__ import annotations

import builtins
import copy
import pickle
import subprocess
import sys

import pytest

from tests.support import ROOT
from volant import _late_errors, errors

#: Every code that was ever given out. Add lines; never change or remove one.
CODES = {
    "AlreadyExistsError": "VOL-ALREADY-EXISTS",
    "AuthError": "VOL-AUTH",
    "ClientClosed": "VOL-CLIENT-CLOSED",
    "ConflictError": "VOL-CONFLICT",
    "ConnectionError": "VOL-CONNECTION",
    "DataLossError": "VOL-DATA-LOSS",
    "DeserializationError": "VOL-DESERIALIZATION",
    "Error": "VOL-ERROR",
    "ExecTimeoutError": "VOL-EXEC-TIMEOUT",
    "ExecutionError": "VOL-EXECUTION",
    "FunctionTimeoutError": "VOL-FUNCTION-TIMEOUT",
    "ImageBuildError": "VOL-IMAGE-BUILD",
    "InputCancellation": "VOL-INPUT-CANCELLED",
    "InteractiveTimeoutError": "VOL-INTERACTIVE-TIMEOUT",
    "InternalError": "VOL-INTERNAL",
    "InternalFailure": "VOL-INTERNAL-FAILURE",
    "InvalidError": "VOL-INVALID",
    "LogsFetchError": "VOL-LOGS-FETCH",
    "ModuleNotMountable": "VOL-MODULE-NOT-MOUNTABLE",
    "MountUploadTimeoutError": "VOL-MOUNT-UPLOAD-TIMEOUT",
    "NotFoundError": "VOL-NOT-FOUND",
    "OutputExpiredError": "VOL-OUTPUT-EXPIRED",
    "PermissionDeniedError": "VOL-PERMISSION-DENIED",
    "RemoteError": "VOL-REMOTE",
    "RequestSizeError": "VOL-REQUEST-SIZE",
    "ResourceExhaustedError": "VOL-RESOURCE-EXHAUSTED",
    "SandboxFilesystemDirectoryNotEmptyError": "VOL-SANDBOX-DIRECTORY-NOT-EMPTY",
    "SandboxFilesystemError": "VOL-SANDBOX-FILESYSTEM",
    "SandboxFilesystemFileTooLargeError": "VOL-SANDBOX-FILE-TOO-LARGE",
    "SandboxFilesystemIsADirectoryError": "VOL-SANDBOX-IS-A-DIRECTORY",
    "SandboxFilesystemNotADirectoryError": "VOL-SANDBOX-NOT-A-DIRECTORY",
    "SandboxFilesystemNotFoundError": "VOL-SANDBOX-PATH-NOT-FOUND",
    "SandboxFilesystemPathAlreadyExistsError": "VOL-SANDBOX-PATH-EXISTS",
    "SandboxFilesystemPermissionError": "VOL-SANDBOX-PERMISSION",
    "SandboxTerminatedError": "VOL-SANDBOX-TERMINATED",
    "SandboxTimeoutError": "VOL-SANDBOX-TIMEOUT",
    "SerializationError": "VOL-SERIALIZATION",
    "ServiceError": "VOL-SERVICE",
    "SnapshotCreationError": "VOL-SNAPSHOT-CREATION",
    "TimeoutError": "VOL-TIMEOUT",
    "UnimplementedError": "VOL-UNIMPLEMENTED",
    "VersionError": "VOL-VERSION",
    "VolumeUploadTimeoutError": "VOL-VOLUME-UPLOAD-TIMEOUT",
    "WorkspaceManagementError": "VOL-WORKSPACE-MANAGEMENT",
}
RETRYABLE = {
    "ConnectionError",
    "InteractiveTimeoutError",
    "InternalFailure",
    "MountUploadTimeoutError",
    "ResourceExhaustedError",
    "ServiceError",
    "VolumeUploadTimeoutError",
}
WARNINGS = {"AsyncUsageWarning", "DeprecationError", "InternalAPIWarning", "ServerWarning"}


def _kinds() -> dict[str, type[BaseException]]:
    return {
        name: kind
        for name, kind in {**vars(errors), **vars(_late_errors)}.items()
        if isinstance(kind, type) and issubclass(kind, BaseException)
    }


@pytest.fixture(params=sorted(CODES))
def kind(request: pytest.FixtureRequest) -> type[errors.Error]:
    found: type[errors.Error] = getattr(errors, request.param)
    return found


def test_names_and_codes_are_the_promised_ones() -> None:
    coded = {
        name: kind.code  # type: ignore[attr-defined]  # all but the warnings have one
        for name, kind in _kinds().items()
        if not issubclass(kind, Warning)
    }
    assert coded == CODES


def test_warnings_are_user_warnings() -> None:
    """A DeprecationError must be seen without a filter, so it is no DeprecationWarning."""
    found = {name for name, kind in _kinds().items() if issubclass(kind, Warning)}
    assert found == WARNINGS
    assert all(issubclass(getattr(errors, name), UserWarning) for name in WARNINGS)


def test_only_what_may_pass_by_itself_is_retryable() -> None:
    assert {name for name in CODES if getattr(errors, name).retryable} == RETRYABLE


def test_an_error_keeps_message_and_hint_when_pickled_and_copied(kind: type[errors.Error]) -> None:
    error = kind("no app named 'x'", hint="see `volant app list`")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == "no app named 'x'"
        assert twin.hint == "see `volant app list`"


def test_an_error_says_one_sentence_about_itself(kind: type[errors.Error]) -> None:
    assert kind.__doc__
    assert kind.__module__ == "volant.errors"


def test_a_hint_is_shown_by_a_traceback() -> None:
    code = "from volant.errors import NotFoundError; raise NotFoundError('gone', hint='look')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.endswith("volant.errors.NotFoundError: gone\nhint: look\n")


def test_timeouts_and_lost_connections_are_the_builtin_ones_too() -> None:
    """Behaviours 8 and 141: callers catch the builtin."""
    assert issubclass(errors.FunctionTimeoutError, builtins.TimeoutError)
    assert issubclass(errors.OutputExpiredError, builtins.TimeoutError)
    assert issubclass(errors.ConnectionError, builtins.ConnectionError)


def test_cancellation_passes_by_an_except_exception() -> None:
    assert not issubclass(errors.InputCancellation, Exception)


def test_a_misspelt_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NotFoundEror"):
        _ = errors.NotFoundEror  # type: ignore[attr-defined]  # that is the point


def test_the_tree_in_the_docstring_names_every_kind_with_its_code() -> None:
    assert errors.__doc__
    rows = dict(
        row.replace("(r)", "").split()[-2:] for row in errors.__doc__.splitlines() if "VOL-" in row
    )
    assert rows == {name: code for name, code in CODES.items() if name != "Error"}
    marked = {row.split()[-3] for row in errors.__doc__.splitlines() if row.endswith("(r)")}
    assert marked == RETRYABLE


def test_importing_the_errors_loads_nothing_else() -> None:
    code = (
        "import sys, __future__, volant; before = set(sys.modules);"
        "from volant.errors import Error; print(sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['volant.errors']"


def test_the_generated_documents_are_up_to_date() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
