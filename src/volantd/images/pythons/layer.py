"""The layer that gives an image a Python, shared by all images with the same base and series."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from volant.errors import ImageBuildError
from volantd.images.debian.installing import install
from volantd.images.debian.sources import OS_RELEASE, PYTHONS, os_release, suite_here
from volantd.images.kept.tree import find as path_in, text_in
from volantd.images.pythons import libraries
from volantd.images.pythons.found import FoundPython, bring, find, missing
from volantd.images.pythons.moving import PREFIX, move
from volantd.patience import on_thread

if TYPE_CHECKING:
    from volantd.images.workbench import Workbench

#: Part of the layer's id: raise it when what is made of the same Python changes.
RECIPE = 1
#: What distributions call their own Python, by the name of a release.
OWN_SERIES = {**PYTHONS, "jammy": "3.10", "noble": "3.12"}
#: Under which name Pythons that uv brought are kept.
_BROUGHT = "pythons of uv"
_ADD_PIP = "import ensurepip; ensurepip.bootstrap(altinstall=True)"
#: Byte code of everything, and a look whether all works that works on this machine.
_COMPILE = """
import compileall, sysconfig
for name in dict.fromkeys(sysconfig.get_path(one) for one in ("stdlib", "platstdlib")):
    compileall.compile_dir(name, quiet=1, workers=0)
import {modules}
"""
_OWN_FINISH = """
set -e
rm -f /usr/lib/python{series}/EXTERNALLY-MANAGED
mkdir -p {prefix}/bin
ln -sf /usr/bin/python{series} {prefix}/bin/python{series}
ln -sf python{series} {prefix}/bin/python3
ln -sf python{series} {prefix}/bin/python
[ ! -e /usr/bin/pip3 ] || ln -sf /usr/bin/pip3 {prefix}/bin/pip
"""


async def python_layer(bench: Workbench, series: str, below: tuple[str, ...], *, anew: bool) -> str:
    """The id of a layer with a Python, made if it is not here.

    Args:
        series: such as "3.12".
        below: ids of the layers that it comes onto.
        anew: make it again.

    Raises:
        ImageBuildError: when there is no such Python, or it does not work in this image.
    """
    layers = tuple(map(bench.store.layer_path, below))
    python = await find(series, bench.choice("image_python_dirs"))
    release = os_release(text_in(layers, OS_RELEASE).splitlines())
    is_own = python is None and OWN_SERIES.get(release.get("VERSION_CODENAME", "")) == series
    if python is None and not is_own:
        python = await _brought(bench, series)
        if python is None:
            raise missing(series)
    version = "own" if python is None else python.version
    content = "\n".join((str(RECIPE), *below, series, version))
    layer_id = f"python-{series}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    found = None if anew else bench.store.newest_layer(layer_id)
    if found is not None:
        return found
    return await bench.once(layer_id, partial(_make, layer_id, series, python, layers))


async def suite_for(bench: Workbench, series: str) -> str:
    """The suite of Debian that an image with a Python begins with.

    That is this machine's own, unless only another one has such a Python.
    """
    here = suite_here()
    own = [suite for suite, its in PYTHONS.items() if its == series]
    if here in own or not own:
        return here
    found = await find(series, bench.choice("image_python_dirs")) or await _brought(bench, series)
    return here if found is not None else own[0]


async def _brought(bench: Workbench, series: str) -> FoundPython | None:
    """A Python that uv brought before, or brings now."""
    place = await on_thread(bench.store.caches.directory, _BROUGHT)
    return await bring(series, place, bench.say)


async def _make(
    layer_id: str, series: str, python: FoundPython | None, layers: tuple[str, ...],
    bench: Workbench,
) -> str:  # fmt: skip
    async with bench.new_layer(layer_id) as place:
        if python is None:
            await _install_own(bench, place, series, layers)
        else:
            await _move(bench, place, python, layers)
    return layer_id


async def _install_own(bench: Workbench, place: str, series: str, layers: tuple[str, ...]) -> None:
    """Install the Python of the image's own distribution, where others would lie."""
    bench.say(f"volant: adding Python {series} of the image's own distribution\n".encode())
    names = [f"python{series}", "python3", f"python{series}-venv", "python3-pip"]
    await install(bench, place, names, layers=layers, recommended=False)
    script = _OWN_FINISH.format(prefix=PREFIX, series=series)
    await bench.run(place, ("/bin/sh", "-c", script), what="python", layers=layers, cwd="/")


async def _move(bench: Workbench, place: str, python: FoundPython, layers: tuple[str, ...]) -> None:
    """Move a Python of this machine into an image, with the libraries that it needs."""
    release = ".".join(map(str, python.release))
    bench.say(f"volant: adding Python {release} of this machine\n".encode())
    prefix = path_in(layers, PREFIX)
    if prefix is None:
        raise bench.failure(f"{PREFIX} is a circle of links in this image")
    needed = await libraries.needed(python)
    names = await libraries.packages(list(needed.values()), layers)
    # Before any step has run: links that one makes would lead elsewhere on this machine.
    await on_thread(move, python, f"{place}/diff{prefix}")
    if names is None:
        await on_thread(libraries.copy, needed, layers, place)
    elif names:
        await install(bench, place, names, layers=layers, recommended=False)
    program = f"{PREFIX}/bin/python{python.series}"

    async def run(script: str, what: str) -> None:
        await bench.run(place, (program, "-I", "-c", script), what=what, layers=layers, cwd="/")

    try:
        await run(_ADD_PIP, f"python{python.series} -m ensurepip")
        modules = ", ".join(python.works) or "sys"
        await run(_COMPILE.format(modules=modules), f"import {modules}")
    except ImageBuildError as error:
        error.hint = (
            f"Python {release} of this machine does not work in this image; a portable one does "
            f"in most (`uv python install {python.series}`); {error.hint}"
        )
        raise
