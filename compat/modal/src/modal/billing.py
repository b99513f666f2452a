"""What running costs: nothing of it is there, since the machine is the user's own."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(
    __name__, "BillingReportItem", "WorkspaceBillingReportItem", "workspace_billing_report"
)
