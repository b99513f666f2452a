"""Functions that are called by themselves."""

from __future__ import annotations

import volant

app = volant.App("timed")
seen = []


@app.function(schedule=volant.Period(seconds=1), max_containers=1)
def count(only_look: bool = False) -> int:
    if not only_look:
        seen.append(1)
    return len(seen)


@app.function(schedule=volant.Cron("0 0 1 1 *", timezone="Asia/Tokyo"))
def yearly() -> float:
    return 1 / 0
