"""Servers: classes whose only method is a port."""

from __future__ import annotations

from modal._standins import standins
from volant import Server as Server
from volant.sdk.web.scaling import ServerAutoscaler

__getattr__ = standins(__name__)
ServerAutoscalerManager = ServerAutoscaler
