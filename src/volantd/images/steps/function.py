"""Functions that are called while an image is built, with the image's own Python.

sources of the app, the SDK, the call ─► a layer that is thrown away ─┐
layers of the image ──────────────────────────────────────────────────┴► what it writes is kept
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from volant.runner.libraries import guises
from volant.runner.view import places
from volant.wire import values
from volantd.fields import optional, switch, text
from volantd.images.files import put
from volantd.images.steps import kind
from volantd.images.steps.kind import Kind
from volantd.lent import package_dir, put_guises
from volantd.patience import on_thread

if TYPE_CHECKING:
    from volantd.images.store import Record
    from volantd.images.workbench import Blob, Workbench

#: Where sources lie, as in every container.
SOURCES_DIR = "/root"
CALL_DIR = places.OWN_DIR + "/call"
_START = (
    "import sys; sys.path[0] = {sdk!r}; "
    "from volant.runner.build_call import main; main({directory!r})"
)
#: What Python would leave beside sources and packages is no part of a layer.
_ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


async def _build(step: dict[str, Any], bench: Workbench) -> Record:
    call = bench.brought.calls[step["digest"]]
    payload = await bench.content(call["payload"])
    async with bench.scratch() as lower:
        await _put_sources(bench, lower)
        await on_thread(_put_call, lower, _described(step, bench), payload)
        async with bench.new_layer() as place:
            await bench.run(
                place,
                (bench.python, "-c", _START.format(sdk=places.SDK_DIR, directory=CALL_DIR)),
                what=f"{step['qualname']}()",
                env={**_ENVIRONMENT, **(step.get("env") or {})},
                layers=(*bench.layers, lower),
                cwd=_cwd(bench),
                volumes=step.get("volumes", ()),
                timeout_s=call["timeout_s"],
                memory_mib=call["memory_limit_mib"],
                cpu_count=call["cpu_limit"],
            )
    return bench.below.with_layers(bench.key)


def _described(step: dict[str, Any], bench: Workbench) -> bytes:
    entry = bench.brought.entry
    return values.encode({
        "root": SOURCES_DIR, "cwd": _cwd(bench), "path": entry["path"], "entry": entry,
        "module": step["module"], "qualname": step["qualname"], "is_async": step["is_async"],
    })  # fmt: skip


def _cwd(bench: Workbench) -> str:
    return bench.below.settings.workdir or SOURCES_DIR


async def _put_sources(bench: Workbench, lower: str) -> None:
    for path, mode, digest, _ in bench.brought.files:
        content = await bench.content(digest)
        target = os.path.join(lower + SOURCES_DIR, path)
        await on_thread(put, target, content, mode & 0o777)


def _put_call(lower: str, call: bytes, payload: Blob) -> None:
    os.makedirs(lower + SOURCES_DIR, 0o755, exist_ok=True)
    put(f"{lower}{CALL_DIR}/call", call)
    put(f"{lower}{CALL_DIR}/payload", payload)
    for name in ("volant", "cloudpickle"):
        shutil.copytree(
            package_dir(name), f"{lower}{places.SDK_DIR}/{name}",
            ignore=shutil.ignore_patterns("__pycache__"),
        )  # fmt: skip
    put_guises(f"{lower}{places.LENT_DIR}/{guises.NAME}")


def _check(step: dict[str, Any]) -> None:
    kind.surroundings(step)
    kind.volumes(step)
    kind.digest(step["digest"])
    optional(text, step, "module")
    text(step, "qualname")
    switch(step, "is_async")


KINDS = {"function": Kind(_check, _build)}
