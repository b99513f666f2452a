"""Variables that nobody else shall see."""

from __future__ import annotations

from modal._standins import standins
from volant import Secret as Secret, is_local as is_local
from volant.sdk.objects.secret import SecretObjects
from volant.types import SecretInfo as SecretInfo

__getattr__ = standins(__name__)
SecretManager = SecretObjects
