"""Functions and their calls."""

from __future__ import annotations

from modal._standins import standins
from volant import Function as Function, FunctionCall as FunctionCall
from volant.sdk.calls.autoscaler import Autoscaler

__getattr__ = standins(__name__)
FunctionAutoscalerManager = Autoscaler
