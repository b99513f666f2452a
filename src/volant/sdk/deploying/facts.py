"""Who deploys, and what git says of the sources that are deployed."""

from __future__ import annotations

import os

#: Git answers from its index; one that does not within this is not waited for.
GIT_TIMEOUT_S = 5.0
_CHARS_MAX = 64


def deployer() -> str:
    """The name of the user."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name[:_CHARS_MAX]
    except KeyError:  # a container of somebody, without an entry for this user
        return f"uid {os.geteuid()}"


def commit_of(path: str) -> dict[str, object]:
    """Commit, branch and whether there are changes, of the repository a file is in; {} if none."""
    import subprocess

    directory = os.path.dirname(os.path.abspath(path))
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "."]
    try:
        done = subprocess.run(  # nothing of it is the user's
            command, cwd=directory, capture_output=True, text=True, timeout=GIT_TIMEOUT_S,
            check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return {}  # no git, no repository, or one that cannot be read: nothing to tell
    facts: dict[str, object] = {"dirty": False}
    for line in done.stdout.splitlines():
        mark, _, rest = line.partition(" ")
        if mark != "#":
            facts["dirty"] = True
        elif rest.startswith("branch.oid ") and "(" not in rest:
            facts["commit_id"] = rest.split()[1]
        elif rest.startswith("branch.head ") and "(" not in rest:
            facts["branch"] = rest.split(" ", 1)[1][:256]
    return facts
