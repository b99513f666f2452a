"""How many threads math libraries use in a container: as many as cores were asked for.

Left alone each of them takes every core of the machine, in each of many containers. A variable
tells those that are loaded later; those that the zygote has loaded have read it already, when it
was 1, and are told by a call. What the user set stays.
"""

from __future__ import annotations

import ctypes
import os

#: Variables that libraries read when they are loaded, and how the libraries' files are called.
VARIABLES = {
    "OPENBLAS_NUM_THREADS": ("openblas",),
    "OMP_NUM_THREADS": ("libgomp", "libomp", "libiomp"),
    "MKL_NUM_THREADS": ("libmkl_rt",),
    "BLIS_NUM_THREADS": ("libblis",),
    "NUMEXPR_NUM_THREADS": (),
    "VECLIB_MAXIMUM_THREADS": (),
}
#: Functions of theirs that set the number; the names of OpenBLAS differ by how it was built.
SETTERS = (
    "scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_", "openblas_set_num_threads64", "openblas_set_num_threads",
    "omp_set_num_threads", "MKL_Set_Num_Threads", "bli_thread_set_num_threads",
)  # fmt: skip


def use(count: int) -> None:
    """Have libraries use `count` threads, unless a variable of the user's says otherwise."""
    environ = os.environ
    mine = [name for name in VARIABLES if name not in environ]
    environ.update(dict.fromkeys(mine, str(count)))
    marks = tuple(mark for name in mine for mark in VARIABLES[name])
    for path in _loaded(marks):
        _tell(path, count)


def _loaded(marks: tuple[str, ...]) -> list[str]:
    """The libraries of this process whose names have one of some marks in them."""
    found: dict[str, None] = {}
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:
                path = line[line.find("/") :].rstrip("\n") if "/" in line else ""
                name = path.rpartition("/")[2]
                if ".so" in name and any(mark in name for mark in marks):
                    found[path] = None
    except OSError:
        return []  # no such file system: then nothing can be told
    return list(found)


def _tell(path: str, count: int) -> None:
    try:
        library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return  # its file is not where it was loaded from: it keeps one thread
    for name in SETTERS:
        setter = getattr(library, name, None)
        if setter is not None:
            setter(ctypes.c_int(count))
            return
