"""What the fresh container of a shell has beside what its function has: limits, secrets, files.

Nothing of it outlives the shell, and the program's own description stays as it is written.
"""

from __future__ import annotations

import os

from volant.errors import InvalidError, NotFoundError
from volant.sdk.images.local import walk
from volant.sdk.images.patterns import Ignored
from volant.sdk.objects.secret import Secret, given_by
from volant.sdk.options import checked_resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from volant.sdk.function import Function


def give(
    function: Function[..., Any, Any],
    *,
    cpu: float | None,
    memory: int | None,
    variables: Sequence[str],
) -> None:
    """Have a function's containers get more, or other, than is written.

    Args:
        function: of an app that does not run yet.
        cpu: cores that they may use, None for what the function says.
        memory: MiB that they may use, likewise.
        variables: names of variables of this process, given as a secret.

    Raises:
        NotFoundError: for a variable that is not set.
    """
    options: dict[str, Any] = dict(function._options)
    limits = checked_resources(
        cpu=None if cpu is None else (cpu, cpu),
        memory=None if memory is None else (memory, memory),
        timeout=options["timeout_s"],
    )
    if cpu is not None:
        options |= {name: limits[name] for name in ("cpu", "cpu_limit")}
    if memory is not None:
        options |= {name: limits[name] for name in ("memory_mib", "memory_limit_mib")}
    if variables:
        secret = Secret.from_local_environ(variables)
        before = options.get("stored", []), options["secrets"]
        options["stored"], options["secrets"] = given_by("a shell", [secret], before)
    function._options = options


def local_files(paths: Sequence[str]) -> dict[str, str]:
    """Files and directories that lie in `/root` of a container, by their own names.

    Returns:
        Path below `/root` -> local path.

    Raises:
        InvalidError: for a path without a name, and for two of one name.
        NotFoundError: for what is not there.
    """
    found: dict[str, str] = {}
    by_name: dict[str, str] = {}
    for given in paths:
        path = os.path.abspath(os.path.expanduser(given))
        name = os.path.basename(path)
        if not os.path.exists(path):
            raise NotFoundError(f"there is no local file or directory {path}")
        if not name:
            raise InvalidError(f"{path} has no name that it could have in a container")
        if by_name.setdefault(name, path) != path:
            raise InvalidError(f"{by_name[name]} and {path} would both be `{name}` in a container")
        if os.path.isdir(path):
            found |= {f"{name}/{below}": local for below, local in walk(path, Ignored(()))}
        else:
            found[name] = path
    return found
