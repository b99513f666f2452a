"""Entry point of the `volant` command: hands its words to the one part that serves them.

`run` is what people type all day, so it has a parser of its own and imports next to nothing.
Every other command is built on click, which costs more to import than a run takes.
"""

from __future__ import annotations

import sys


def main(called: str = "") -> int:
    """Serve the command line of this process.

    Args:
        called: the name under which the command speaks of itself; its own by default.

    Returns:
        The exit code: 0 well, 1 user code failed, 2 wrong usage, 3 the service failed,
        130 interrupted.
    """
    if called:
        from volant.cli.shared import naming

        naming.call(called)
    words = sys.argv[1:]
    if words and words[0] == "run":
        from volant.cli.run import run_command

        return run_command(words[1:])
    from volant.cli.commands.root import dispatch

    return dispatch(words)


if __name__ == "__main__":
    sys.exit(main())
