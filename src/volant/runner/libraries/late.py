"""Notes what user code imports in a container, so that the next template can have imported it.

    START ─► Watch ─► user code: import x ─► find_spec("x") ─► noted ─► first input done ─► hub

Only what an import statement asks for is noted, not what that imports in turn, and only as long as
environment, directory and places of modules are as they were when user code began: a module that
heeds them would find something else in a template. The watch ends with the first input.
"""

from __future__ import annotations

import os
import sys
from time import perf_counter_ns

from volant.wire import frames, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Imports that take less together are not worth another template.
WORTH_NS = 10_000_000
#: Names that are noted, and characters of the longest.
NAMES_MAX = 100
NAME_CHARS_MAX = 200


class Watch:
    """Stands first on `sys.meta_path`, is asked for each new module, and finds none."""

    def __init__(
        self, directories: list[str], send: Callable[[bytes], None], worth_ns: int = WORTH_NS
    ) -> None:
        """Begin.

        Args:
            directories: where sources of the program lie: they are no late imports.
            send: takes a frame for the hub.
            worth_ns: what takes less is not told.
        """
        self._worth_ns = worth_ns
        self._directories = directories
        self._send = send
        self._own: set[str] | None = None
        self._names: list[str] = []
        #: What is being imported, or was last; empty if nothing was.
        self._current = ""
        self._is_over = False
        #: When the import of the last name began, and when it was last seen to go on.
        self._begun_ns = self._seen_ns = self._took_ns = 0
        self._circumstances = _circumstances()
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Note a module that is about to be looked for."""
        if self._is_over:
            return
        now_ns = perf_counter_ns()
        if self._current and _is_being_imported(self._current):
            self._seen_ns = now_ns
            self._circumstances = _circumstances()  # imports may change them: so they will again
            return
        top = name.partition(".")[0]
        if top in self._own_names():
            return
        if _circumstances() != self._circumstances or len(self._names) >= NAMES_MAX:
            self._is_over = True
            return
        self._settle()
        self._current, self._begun_ns, self._seen_ns = name, now_ns, now_ns
        if top != "volant":
            self._names.append(name)

    def _settle(self) -> None:
        """Count what the last import took, as far as that was seen, if it was none of ours."""
        if self._names and self._current == self._names[-1]:
            self._took_ns += self._seen_ns - self._begun_ns
            self._begun_ns = self._seen_ns

    def _own_names(self) -> set[str]:
        """What the program's own sources are called, without what is in their packages."""
        if self._own is None:
            self._own = set()
            for directory in self._directories:
                try:
                    self._own.update(name.partition(".")[0] for name in os.listdir(directory))
                except OSError:
                    continue  # the program has removed it
        return self._own

    def tell(self) -> None:
        """Tell the hub once what was noted, if it is worth it, and watch no more."""
        self._is_over = True
        if self not in sys.meta_path:
            return  # it has told, or user code wants to find modules all by itself
        sys.meta_path.remove(self)
        self._settle()
        if not self._names or self._took_ns < self._worth_ns:
            return
        names = [name for name in self._names if _is_imported(name)]
        event = {"op": "late", "names": names}
        self._send(frames.control(frames.EVENT, values.encode(event)))


def _circumstances() -> tuple[object, ...]:
    """What modules may heed while they are imported."""
    try:
        directory = os.getcwd()
    except OSError:
        directory = ""  # it is gone
    # The variables as they are kept: decoding all of them takes as long as a small import.
    variables = getattr(os.environ, "_data", None)
    return dict(variables or os.environ), directory, list(sys.path)


def _is_being_imported(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _is_imported(name: str) -> bool:
    """Whether a module is there that has a file, under a name that the hub takes."""
    is_dotted = all(part.isidentifier() for part in name.split("."))
    path = getattr(sys.modules.get(name), "__file__", None)
    return is_dotted and len(name) <= NAME_CHARS_MAX and isinstance(path, str)
