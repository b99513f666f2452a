"""What may change or go without notice: a public module of the programming model.

Names of the model that are not there yet say so.
"""

from __future__ import annotations

from volant.sdk.planned import planned_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volant.sdk.deploying.listed import (
        AppLifecycle as AppLifecycle,
        trials as _trials,
    )
    from volant.sdk.inputs.clustering import (
        ClusterInfo as ClusterInfo,
        clustered as clustered,
        get_cluster_info as get_cluster_info,
    )
    from volant.sdk.inputs.retiring import (
        get_local_input_concurrency as get_local_input_concurrency,
        stop_fetching_inputs as stop_fetching_inputs,
    )
    from volant.sdk.sandboxes.outbound import OutboundPolicy as OutboundPolicy

    get_app_lifecycle = _trials.get_app_lifecycle
    get_app_objects = _trials.get_app_objects
    image_delete = _trials.image_delete
    list_deployed_apps = _trials.list_deployed_apps
    stop_app = _trials.stop_app

#: Name -> the module that has it, or `trials` of which it is a part.
_HOME = {
    "AppLifecycle": "volant.sdk.deploying.listed",
    "ClusterInfo": "volant.sdk.inputs.clustering",
    "OutboundPolicy": "volant.sdk.sandboxes.outbound",
    "clustered": "volant.sdk.inputs.clustering",
    "get_cluster_info": "volant.sdk.inputs.clustering",
    "get_local_input_concurrency": "volant.sdk.inputs.retiring",
    "stop_fetching_inputs": "volant.sdk.inputs.retiring",
}
_TRIALS = frozenset({
    "get_app_lifecycle", "get_app_objects", "image_delete", "list_deployed_apps", "stop_app",
})  # fmt: skip

_planned = planned_module(__name__)


def __getattr__(name: str) -> object:
    if name in _HOME:
        import sys

        __import__(_HOME[name])
        value: object = getattr(sys.modules[_HOME[name]], name)
        return value
    if name in _TRIALS or name == "AppInfo":
        from volant.sdk.deploying import listed

        return listed.DeployedApp if name == "AppInfo" else getattr(listed.trials, name)
    return _planned(name)
