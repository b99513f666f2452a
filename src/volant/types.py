"""Types of what requests return: a public module of the programming model.

What is not there yet says so by its name.
"""

from __future__ import annotations

from volant.sdk.calls.graph import InputInfo as InputInfo, InputStatus as InputStatus
from volant.sdk.planned import planned_module

__getattr__ = planned_module(__name__)
