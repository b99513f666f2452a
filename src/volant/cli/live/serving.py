"""One app that is served: run, and loaded anew each time that one of its files is saved.

    save ─► inotify ─► quiet for a moment ─► fork: load, describe, update ─► report: what to watch
                                               └─ a later save ends it and begins another

One thread and one `poll`: it forks, so it must have no other threads. It never loads the user's
program itself.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant.channel import current
from volant.cli import failures
from volant.cli.live.reloading import Reload, Served
from volant.cli.live.watching import SourceWatch
from volant.errors import ConnectionError
from volant.sdk import output
from volant.sdk.deploying.staging import is_current
from volant.sdk.images.host import host_wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from volant.channel.channel import Channel
    from volant.cli.live.reloading import Plan

#: Quiet time after a load until the next is prepared: the first call comes before it.
PREPARE_DELAY_S = 0.3
#: How long files have to be left alone before they are loaded: an editor saves several at once.
QUIET_S = 0.015
#: The mark of what is served when it is not known whether a reload that was ended had its way.
UNKNOWN = b"unknown"
#: Signals that end it.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: How long a stream of changes can put that off.
PUT_OFF_S = 0.25


class Serving:
    """One app that is served."""

    def __init__(self, plan: Plan, timeout_s: float) -> None:
        """Begin, and load the program at once.

        Args:
            plan: what is served.
            timeout_s: how long; infinite for until Ctrl-C.
        """
        self._plan = plan
        self._end_due = monotonic() + timeout_s
        self._channel: Channel = current.channel()
        assert output.active is not None
        self._channel.on_event = output.active.on_event
        self._channel.on_reconnect.append(self._open_again)
        self._watch = SourceWatch()
        self._watch_files([plan.entry_path()])
        self._app_id = str(self._channel.request("app_open", app=self._empty())["app_id"])
        self._reload: Reload | None = None
        #: The next one, which waits for a save; and when it is made.
        self._spare: Reload | None = None
        self._spare_due = float("inf")
        self._served = Served()
        #: When what has changed is loaded; and at the latest.
        self._due = self._due_max = self._began = monotonic()
        self._is_first = True
        self._has_failed = False
        self._is_over = False
        self._woken, wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # An exception in the middle of a frame would cut it, so Ctrl-C only ends the wait.
        signal.set_wakeup_fd(wakes)
        for number in ENDING:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        self._is_over = True
        signal.signal(number, signal.SIG_DFL)  # who does not want to wait does it again

    def _empty(self) -> dict[str, Any]:
        """An app that has nothing yet: each version takes the place of the one before."""
        return {
            "name": self._plan.name, "tags": {}, "detach": False, "output": True,
            "interactive": False, "imports": True, "files": [], "functions": [],
            "entry": {"module": None, "file": None, "path": [""]}, "images": [host_wire()],
            "base": self._channel.lane_tokens.next_functions(0), "express": b"",
        }  # fmt: skip

    def _open_again(self) -> None:
        """Begin anew with a daemon that was started anew (on the leading thread, in `pump`)."""
        self._app_id = self._channel.direct_request("app_open", app=self._empty())["app_id"]
        self._served = Served()
        self._note_change()

    def run(self) -> None:
        """Serve until Ctrl-C, or until the time is over.

        Raises:
            ConnectionError: when the daemon was stopped.
        """
        while monotonic() < self._end_due:
            self._wait()
            if self._is_over:
                return
            if self._channel.closed:
                raise ConnectionError("the daemon is gone, and with it the app that was served")
            if self._watch.has_changed():
                self._note_change()
            if self._reload is not None:
                report = self._reload.read()
                if report is not None:
                    self._reload = None
                    self._take(report)
            if min(self._due, self._due_max) <= monotonic():
                self._begin()
            elif self._spare_due <= monotonic():
                self._prepare()

    def _wait(self) -> None:
        """Wait until something happens, or is due; events of the hub are shown meanwhile."""
        poll = select.poll()
        channel = self._channel.fileno()
        for fd in (channel, self._watch.fileno(), self._woken):
            poll.register(fd, select.POLLIN)
        if self._reload is not None:
            poll.register(self._reload.fd, select.POLLIN)
        due = min(self._due, self._due_max, self._end_due, self._spare_due)
        timeout = None if due == float("inf") else max(0.0, due - monotonic()) * 1000
        if channel in dict(poll.poll(timeout)):
            self._channel.pump()

    def _note_change(self) -> None:
        now = monotonic()
        self._due = now + QUIET_S
        if self._due_max == float("inf"):
            self._due_max, self._began = now + PUT_OFF_S, now

    def _begin(self) -> None:
        """Load the program as it is now; what is being loaded is out of date."""
        self._due = self._due_max = float("inf")
        if self._reload is not None:
            self._reload.end()
            self._served.mark = UNKNOWN
        spare, self._spare, self._spare_due = self._spare, None, float("inf")
        if spare is not None and spare.go(self._app_id, self._served):
            self._reload = spare
            return
        if spare is not None:
            spare.end()
        self._load_plainly()

    def _load_plainly(self) -> None:
        self._reload = Reload(self._plan, self._app_id, self._served, [])
        self._reload.go(self._app_id, self._served)

    def _prepare(self) -> None:
        """Have the next load import ahead what the program began with this time."""
        self._spare_due = float("inf")
        if self._spare is None and self._reload is None and self._served.prelude:
            self._spare = Reload(self._plan, self._app_id, self._served, self._served.prelude)

    def _take(self, report: dict[str, Any]) -> None:
        """Hear how a reload has ended."""
        if "unfit" in report:
            self._load_plainly()
            return
        self._spare_due = monotonic() + PREPARE_DELAY_S
        if "mark" in report:
            self._served.prelude = report["prelude"] or []
        local_paths: dict[str, str] = report.get("local_paths", {})
        sources = report.get("sources", local_paths.values())
        is_new = self._watch_files(sources, report.get("attached", ()))
        if report.get("refused") and self._is_first:
            raise SystemExit(failures.USAGE)  # the reload has said why
        has_failed, self._has_failed = self._has_failed, "mark" not in report
        if self._has_failed:
            goes_on = (
                "the last version that could be loaded goes on" if self._served.mark else "waiting"
            )
            what = "" if "problem" in report else "the program ended while it was loaded; "
            _say(f"{what}{goes_on}; save a file to try again")
            return
        if "outdated" in report:
            self._note_change()
            return
        if not report["changed"]:
            if has_failed:
                _say("it can be loaded again, and is what is served")
            return
        served = self._served
        served.mark, served.local_paths = report["mark"], local_paths
        served.description = report["description"]
        if is_new and not is_current(served.description["files"], local_paths):
            self._note_change()  # before its directory was watched
        took_s = monotonic() - self._began
        if self._is_first:
            self._is_first = False
            _say(f"serving {report['name'] or 'the app'} ({self._app_id}); Ctrl-C ends it")
        else:
            _say(f"reloaded in {took_s:.2f} s")
        for url in report.get("urls", ()):
            _say(f"  {url[0]} => {url[2]}")

    def _watch_files(self, sources: Iterable[str], attached: Iterable[str] = ()) -> bool:
        """Watch files; True when they lie where nothing was watched before.

        Raises:
            Refused: when the machine lets this user watch no more.
        """
        try:
            return self._watch.add(sources, attached)
        except OSError as error:
            raise failures.Refused(
                f"cannot watch {error.filename}: {error.strerror}",
                hint="raise the kernel's setting fs.inotify.max_user_watches",
                exit_code=failures.SERVICE,
            ) from None

    def close(self) -> None:
        """End the app."""
        for one in (self._reload, self._spare):
            if one is not None:
                one.end()
        self._watch.close()
        if not self._channel.closed:
            try:
                self._channel.request("app_close", app_id=self._app_id, reason="finished")
            except ConnectionError:
                pass  # a hub that is gone has ended it
            current.forget()


def _say(text: str) -> None:
    print(f"volant: {text}", file=sys.stderr, flush=True)
