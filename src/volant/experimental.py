"""What may change or go without notice: a public module of the programming model.

Names of the model that are not there yet say so.
"""

from __future__ import annotations

from volant.sdk.planned import planned_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.sdk.inputs.retiring import stop_fetching_inputs as stop_fetching_inputs
    from volant.sdk.sandboxes.outbound import OutboundPolicy as OutboundPolicy

_planned = planned_module(__name__)


def __getattr__(name: str) -> object:
    if name == "OutboundPolicy":
        from volant.sdk.sandboxes.outbound import OutboundPolicy

        return OutboundPolicy
    if name != "stop_fetching_inputs":
        _planned(name)
    from volant.sdk.inputs.retiring import stop_fetching_inputs

    return stop_fetching_inputs
