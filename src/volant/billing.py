"""What running costs, by object and tag: a public module of the programming model.

Nothing of it is there yet; each name says so.
"""

from __future__ import annotations

from volant.sdk.planned import planned_module

__getattr__ = planned_module(__name__)
