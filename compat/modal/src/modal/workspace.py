"""Workspaces: a machine is one."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(
    __name__,
    "ProxyTokenInfo",
    "TokenData",
    "Workspace",
    "WorkspaceBillingManager",
    "WorkspaceMemberInfo",
    "WorkspaceMemberTokenManager",
    "WorkspaceMembersManager",
    "WorkspaceProxyTokenManager",
    "WorkspaceServiceUserManager",
    "WorkspaceSettings",
    "WorkspaceSettingsManager",
)
