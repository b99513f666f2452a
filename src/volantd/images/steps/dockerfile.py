"""Steps that follow a Dockerfile, or some of its instructions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError
from volant.sdk.images.dockerfile import instructions
from volantd.fields import sequence
from volantd.images.dockerfile.following import Follower
from volantd.images.keys import FORCE
from volantd.images.pythons.layer import python_layer
from volantd.images.steps import kind
from volantd.images.steps.kind import Kind

if TYPE_CHECKING:
    from volantd.images.store import Record
    from volantd.images.workbench import Workbench

#: What a context may hold, as paths below it.
FILES_MAX = 100_000


async def _build(step: dict[str, Any], bench: Workbench) -> Record:
    try:
        followed = list(instructions("the Dockerfile", step["commands"]))
    except InvalidError as error:
        raise bench.failure(error.message) from error
    files = {path: (mode, digest) for path, mode, digest, _ in step["files"]}
    follower = Follower(bench, files, step.get("build_args") or {}, step.get("env") or {})
    begins = any(one.name == "FROM" for one in followed)
    record = await follower.follow(followed, None if begins else bench.below)
    series = step.get("add_python")
    if series is None:
        return record
    anew = bool(step.get(FORCE))
    return record.with_layers(await python_layer(bench, series, record.layers, anew=anew))


def _check(step: dict[str, Any]) -> None:
    kind.words(step, "commands")
    kind.variables(step.get("build_args") or {})
    kind.surroundings(step)
    kind.names({"auth": None, **step}, "auth")
    if step.get("add_python") is not None:
        kind.series(step["add_python"])
    if len(sequence(step, "files")) > FILES_MAX:
        raise ValueError(f"a context of more than {FILES_MAX} files")
    kind.files({"files": [[f"/{path}", *rest] for path, *rest in step["files"]]}, "files")


KINDS = {"dockerfile": Kind(_check, _build, is_base=True)}
