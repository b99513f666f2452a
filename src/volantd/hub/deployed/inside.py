"""What user code in a container may deploy: few and small apps, that keep to its limits.

An app that a container deploys has a sponsor: the app that the machine's user has started, in
which, or below which, that container runs. It is held to what containers may do wherever it goes,
also by the daemon after the next start, as its sponsor is kept with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import PermissionDeniedError, ResourceExhaustedError
from volantd.hub import checks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from volantd.hub.records import App

#: Apps of one sponsor that are deployed.
APPS_MAX = 16
#: Bytes of their versions and contents, as long as the daemon runs.
KEPT_BYTES_MAX = 256 << 20


def check(
    sponsor: str, name: str, description: dict[str, Any], deployed: Iterable[App], kept_bytes: int
) -> None:
    """See that a container may deploy something.

    Args:
        sponsor: see `App.sponsor`.
        name: that it is to have.
        description: of what is deployed, held to the container's limits.
        deployed: all apps that are.
        kept_bytes: what would be kept for this sponsor.

    Raises:
        PermissionDeniedError: when that name is not its to have.
        ResourceExhaustedError: when it has deployed enough.
    """
    others = {app.name: app for app in deployed}
    current = others.pop(name, None)
    if current is not None and current.sponsor != sponsor:
        raise PermissionDeniedError(
            f"a container of app `{sponsor}` cannot replace app `{name}`, which none of its "
            "containers has deployed",
            hint="give it another name, or deploy it from outside of containers",
        )
    own = [app for app in others.values() if app.sponsor == sponsor]
    if len(own) >= APPS_MAX:
        raise ResourceExhaustedError(
            f"containers of app `{sponsor}` have deployed {len(own)} apps, which is the most",
            hint="`volant app stop` ends one",
        )
    options = [function["options"] for function in description["functions"]]
    options += [function.options for app in own for function in app.functions.values()]
    ready = sum(one["min_containers"] + one["buffer_containers"] for one in options)
    if ready > checks.NESTED_KEPT_MAX:
        raise ResourceExhaustedError(
            f"apps that containers of app `{sponsor}` have deployed would keep {ready} containers "
            f"ready, at most {checks.NESTED_KEPT_MAX}",
            hint="lower min_containers= and buffer_containers=",
        )
    if kept_bytes > KEPT_BYTES_MAX:
        raise ResourceExhaustedError(
            f"what containers of app `{sponsor}` have deployed would take {kept_bytes} bytes, at "
            f"most {KEPT_BYTES_MAX}",
            hint="`volant app stop` ends one; its files are removed when the daemon next starts",
        )
