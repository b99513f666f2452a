"""`volant run -`: a script from standard input, kept as a file while it runs.

Containers need a source file to import, and tracebacks one to quote.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile

from volant.runner.loading import load_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

#: Its name as a module, here and in containers.
MODULE = "stdin_script"


def load_stdin() -> ModuleType:
    """Read a script from standard input and load it; its imports come from the working directory.

    Raises:
        Refused: when a person sits at the other end and nothing comes.
    """
    from volant.cli.failures import Refused

    if sys.stdin.isatty():
        raise Refused(
            "`volant run -` reads a script from standard input, which is a terminal",
            hint="`volant run - < script.py`",
        )
    source = sys.stdin.buffer.read()
    directory = tempfile.mkdtemp(prefix="volant-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = os.path.join(directory, f"{MODULE}.py")
    with open(path, "wb") as file:
        file.write(source)
    sys.path.insert(0, os.getcwd())
    return load_file(MODULE, path)
