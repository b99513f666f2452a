"""The picture in the region below the output: a tree of functions, and a bar for every map."""

from __future__ import annotations

import re
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from volant.sdk.images.built.lines import label_of, outcome_of

if TYPE_CHECKING:
    from typing import Any, TextIO

    from rich.console import RenderableType

    from volant.cli.progress import BuildProgress, MapProgress, Progress

#: Seconds that a rate looks back.
RATE_WINDOW_S = 10.0
#: A map that was over sooner leaves no closing line.
CLOSING_LINE_S = 1.0
_BAR_CHARS = 30
#: What programs write to a terminal beside text: colours, positions, titles.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")


class Rate:
    """Results per second of one map, over the latest moments."""

    def __init__(self, started: float) -> None:
        self._samples = [(started, 0)]

    def take(self, now: float, done: int) -> float:
        """Add a sample; returns the rate, 0 while there is none."""
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] < now - RATE_WINDOW_S:
            del self._samples[0]
        first, done_then = self._samples[0]
        return (done - done_then) / (now - first) if now > first else 0.0


class View:
    """Draws a `Progress` for one terminal."""

    def __init__(self, progress: Progress, terminal: TextIO) -> None:
        self._progress = progress
        self._console = Console(file=terminal, force_terminal=True, highlight=False)
        self._spinner = Spinner("dots")
        self._rates: dict[int, Rate] = {}

    def lines(self) -> list[str]:
        """The picture now, each line narrower than the terminal."""
        width, height = self._console.size
        parts: list[RenderableType] = [self._tree()]
        open_maps = [
            (call, one) for call, one in list(self._progress.maps.items()) if one.ended is None
        ]
        if open_maps:
            parts.append(self._bars(open_maps))
        options = self._console.options.update(width=max(10, width - 1), no_wrap=True)
        with self._console.capture() as capture:
            for line in self._console.render_lines(Group(*parts), options, pad=False):
                self._console.print(*[Text(s.text, s.style or "") for s in line], sep="", end="\n",
                                    soft_wrap=True)  # fmt: skip
        return capture.get().splitlines()[: max(1, height - 1)]

    def _tree(self) -> Tree:
        progress = self._progress
        head = Table.grid(padding=(0, 1))
        head.add_row(self._spinner, Text(progress.title, "bold"), Text(progress.phase, "dim"))
        tree = Tree(head, guide_style="dim")
        for build in list(progress.builds.values()):
            _add_build(tree, build)
        for name, status in list(progress.statuses.items()):
            words = [
                f"{status[key]:,} {word}"
                for key, word in (("running", "running"), ("starting", "starting"),
                                  ("queued", "waiting"))
                if status.get(key)
            ]  # fmt: skip
            if status.get("text"):
                words.append(str(status["text"]))
            if words:
                tree.add(Text.assemble(name, "  ", (", ".join(words), "dim")))
        return tree

    def _bars(self, maps: list[tuple[int, MapProgress]]) -> Table:
        grid = Table.grid(padding=(0, 1))
        for call, one in maps:
            rate = self._rates.setdefault(call, Rate(one.started)).take(monotonic(), one.done)
            known = one.total is not None
            grid.add_row(
                Text(one.name),
                ProgressBar(total=one.total if known else None, completed=one.done,
                            width=_BAR_CHARS, pulse=not known, complete_style="cyan",
                            finished_style="cyan", pulse_style="cyan"),
                Text(amount(one)),
                Text(f"{rate:,.0f}/s", "dim"),
                Text(f"{clock(remaining_s(one, rate))} left" if known and rate else "", "dim"),
            )  # fmt: skip
        return grid

    def finished_builds(self) -> list[str]:
        """A closing line for each build that took a while, once nothing waits for images."""
        lines: list[str] = []
        builds = self._progress.builds
        if self._progress.phase:
            return lines
        for image, one in list(builds.items()):
            if "took_s" in one.told:
                del builds[image]
                if one.told["state"] != "cached" and one.told["took_s"] >= CLOSING_LINE_S:
                    lines.append(f"{label_of(one.told)}: {_outcome(one.told)}")
        return lines

    def finished_maps(self) -> list[str]:
        """A closing line for each long map that ended since the last time."""
        lines = []
        for call, one in list(self._progress.maps.items()):
            if one.ended is None:
                continue
            del self._progress.maps[call]
            self._rates.pop(call, None)
            taken_s = one.ended - one.started
            if taken_s < CLOSING_LINE_S:
                continue
            lines.append(
                f"{one.name}: {amount(one)} in {taken_s:.1f} s, {one.done / taken_s:,.0f}/s"
            )
        return lines


def _outcome(event: dict[str, Any]) -> str:
    return outcome_of(event["state"], event["took_s"])


def _add_build(tree: Tree, build: BuildProgress) -> None:
    """Show one image: what it is at, and what the step has printed last."""
    event = build.told
    if not event:
        return  # its first step is still to come
    if "took_s" in event:
        tree.add(Text.assemble(label_of(event), "  ", (_outcome(event), "dim")))
        return
    taken_s = monotonic() - build.began
    words = f"step {event['number']} of {event['count']}, {taken_s:.0f} s: "
    words += plain(event["text"].encode())
    node = tree.add(Text.assemble(label_of(event), "  ", (words, "dim"), overflow="ellipsis"))
    for line in build.last_lines():
        node.add(Text(plain(line), "dim", overflow="ellipsis"))


def plain(line: bytes) -> str:
    """A line of a program as it would stand on a terminal, without what is no text."""
    text = line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
    return "".join(c for c in _ESCAPES.sub("", text).expandtabs() if c.isprintable())


def amount(one: MapProgress) -> str:
    """How much of a map is done."""
    return f"{one.done:,}" if one.total is None else f"{one.done:,}/{one.total:,}"


def remaining_s(one: MapProgress, rate: float) -> float:
    """How long a map will still take at this rate."""
    assert one.total is not None
    return (one.total - one.done) / rate


def clock(duration_s: float) -> str:
    """A duration as h:mm:ss."""
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
