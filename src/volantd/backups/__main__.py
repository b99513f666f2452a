"""`python -m volantd.backups backup|restore PATH`: does it, and says how in lines of JSON.

A process of its own, so that the command needs nothing of the daemon's, nor the daemon to run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from volant import config as settings
from volant.errors import Error
from volantd.backups.backup import back_up
from volantd.backups.restore import restore

#: Between two reports of progress.
REPORT_S = 0.1
_last = 0.0


def _say(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def _report(what: str, done: int, total: int) -> None:
    global _last
    if done == total or monotonic() - _last >= REPORT_S:
        _last = monotonic()
        _say("progress", what=what, done=done, total=total)


def main() -> int:
    """Do what the words ask for; the exit status says whether that succeeded."""
    parser = argparse.ArgumentParser(prog="volantd.backups")
    parser.add_argument("verb", choices=("backup", "restore"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--without-key", action="store_true")
    arguments = parser.parse_args()
    os.umask(0o077)
    try:
        config = settings.load()
        home = Path(config.home)
        url = config.text("database_url")
        if arguments.verb == "backup":
            with_key = not arguments.without_key
            manifest = back_up(home, arguments.path, _report, url=url, with_key=with_key)
        else:
            manifest = restore(home, arguments.path, _report, force=arguments.force, url=url)
    except Error as error:
        _say("failed", kind=type(error).__name__, message=error.message, hint=error.hint)
        return 1
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        _say("failed", kind="ServiceError", message=f"{error.strerror}{place}",
             hint="nothing was changed")  # fmt: skip
        return 1
    except KeyboardInterrupt:
        return 130
    _say("done", **{**asdict(manifest), "path": str(arguments.path), "home": str(home)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
