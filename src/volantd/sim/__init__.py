"""The real core against simulated clients, containers, networks and disasters.

One seed is one history: every choice comes from one random generator and every moment from one
heap, so a seed that fails fails again. Only the core is real; everything around it is made to be
unfair within the rules. It must not read a clock, open a file or know the hub.

    client ==link==> hub (core inside) ==link==> container
               judge: watches all of them, and asserts
"""

from __future__ import annotations

from volantd.sim.history import HistoryError, Summary, run

__all__ = ["HistoryError", "Summary", "run"]
