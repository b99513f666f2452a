"""Classes with state."""

from __future__ import annotations

from modal._standins import standins
from volant import Cls as Cls, parameter as parameter
from volant.sdk.classes.parameters import is_parameter as is_parameter
from volant.types import Obj as Obj

__getattr__ = standins(__name__)
