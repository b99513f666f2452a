"""Environments, as objects and by functions of before these."""

from __future__ import annotations

from modal._standins import standins
from volant import Environment as Environment
from volant.sdk.objects.environment import EnvironmentApps

__getattr__ = standins(
    __name__, "EnvironmentBillingManager", "EnvironmentMembersManager",
    "EnvironmentRolesManager",
)  # fmt: skip
EnvironmentManager = type(Environment.objects)
list_environments = Environment.objects.list
update_environment = Environment.objects.update
create_environment = Environment.objects.create
delete_environment = Environment.objects.delete
EnvironmentAppsManager = EnvironmentApps
