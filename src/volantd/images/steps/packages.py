"""Steps of packages that are named one by one: of pip, of uv and of private repositories.

All of them are installed by uv.
"""

from __future__ import annotations

import base64
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from volant.errors import ImageBuildError
from volantd.fields import optional, switch, text
from volantd.images.packages.installing import Task, install
from volantd.images.steps import kind
from volantd.images.steps.kind import Kind

if TYPE_CHECKING:
    from volantd.images.store import Record
    from volantd.images.workbench import Workbench

#: Packages that a failed step names.
NAMED_COUNT = 8
#: Where private repositories are, and the variable of a secret that opens them.
TOKENS = {"github.com": "GITHUB_TOKEN", "gitlab.com": "GITLAB_TOKEN"}


async def _build(step: dict[str, Any], bench: Workbench) -> Record:
    # Not on the command line, which every process of the machine may read.
    files = {"packages.txt": "".join(f"{word}\n" for word in step["packages"]).encode()}
    if step["requirements"] is not None:
        files["requirements.txt"] = bytes(await bench.content(step["requirements"]))
    words = [word for name in files for word in ("--requirements", name)]
    task = Task(
        what=_named(step),
        arguments=(*words, *shlex.split(step["extra_options"])),
        files=files,
        env={"UV_PRERELEASE": "allow"} if step["pre"] else {},
        uv_version=step.get("uv_version"),
    )
    return await install(task, step, bench)


def _named(step: dict[str, Any]) -> str:
    names = step["packages"][:NAMED_COUNT]
    if len(step["packages"]) > NAMED_COUNT:
        names.append("...")
    if step["requirements"] is not None:
        names.append("-r requirements.txt")
    return " ".join(["uv pip install", *names])


async def _build_private(step: dict[str, Any], bench: Workbench) -> Record:
    repositories = step["repositories"]
    lines = [f"git+https://{_quoted(word)}\n" for word in repositories]
    task = Task(
        what=" ".join(["uv pip install", *repositories]),
        arguments=("--requirements", "packages.txt", *shlex.split(step["extra_options"])),
        files={"packages.txt": "".join(lines).encode()},
        env={**_shown_to_git(step, bench), **({"UV_PRERELEASE": "allow"} if step["pre"] else {})},
    )
    return await install(task, step, bench)


def _quoted(repository: str) -> str:
    return quote(repository, safe="/@.:+-_~")


def _shown_to_git(step: dict[str, Any], bench: Workbench) -> dict[str, str]:
    """Variables that give git a token for each host: no address, command or layer has it.

    Raises:
        ImageBuildError: when the secrets of the step have none.
    """
    secrets = bench.brought.secrets.get("secrets", {})
    found = {}
    for number, host in enumerate(sorted({_host(word) for word in step["repositories"]})):
        name = TOKENS[host]
        if name not in secrets:
            raise ImageBuildError(
                f"the secrets for repositories of {host} have no {name}",
                hint=f'give one, such as secrets=[volant.Secret.from_local_environ(["{name}"])]',
            )
        pair = base64.b64encode(f"{step['git_user']}:{secrets[name]}".encode()).decode()
        found[f"GIT_CONFIG_KEY_{number}"] = f"http.https://{host}/.extraHeader"
        found[f"GIT_CONFIG_VALUE_{number}"] = f"Authorization: Basic {pair}"
        found["GIT_CONFIG_COUNT"] = str(number + 1)
    return {**found, "GIT_TERMINAL_PROMPT": "0"}


def _host(repository: str) -> str:
    return repository.partition("/")[0]


def _check_private(step: dict[str, Any]) -> None:
    for word in kind.words(step, "repositories"):
        if _host(word) not in TOKENS or not word.isprintable():
            raise ValueError(f"{word[:200]!r} is no repository of {' or '.join(TOKENS)}")
    text(step, "git_user")
    _check_options(step)


def _check(step: dict[str, Any]) -> None:
    for word in kind.words(step, "packages"):
        if "\n" in word or word.startswith("-"):
            raise ValueError("a package is an option")
    if step["requirements"] is not None:
        kind.digest(step["requirements"])
    if "uv_version" in step:
        kind.version(step, "uv_version")
    _check_options(step)


def _check_options(step: dict[str, Any]) -> None:
    kind.surroundings(step)
    for name in ("find_links", "index_url", "extra_index_url"):
        optional(text, step, name)
    switch(step, "pre")
    shlex.split(text(step, "extra_options"))


KINDS = {"pip": Kind(_check, _build), "private_repos": Kind(_check_private, _build_private)}
