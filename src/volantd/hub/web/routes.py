"""Which web function has which label and host: the app that came last has it, until it ends.

Names only. Where requests go from there is said by leases, in `leases.py`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volantd.hub.web import checked
from volantd.hub.web.queries import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.hub.records import App, Function

#: Hexadecimal digits that tell labels apart which had to be cut.
HASH_CHARS = 6
#: What is between the label of an app and that of its environment.
PARTED_BY = "--"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A web function under its label."""

    label: str
    function: Function
    #: index among the methods of a class; 0 for a function
    method: int
    #: as users know it, such as `Model.ask`
    name: str
    form: dict[str, Any]
    domains: tuple[str, ...]
    #: those of a class, which the query of a request gives
    parameters: Parameters

    @property
    def is_stateless(self) -> bool:
        """Whether its requests wait for no container."""
        return bool(self.form["kind"] == "stateless")

    @property
    def has_sessions(self) -> bool:
        """Whether its requests are those of sessions that own a container."""
        return self.form.get("session_requests_max") is not None


class Routes:
    """All labels that lead somewhere."""

    def __init__(
        self, on_route: Callable[[Claim, Claim | None], None], on_lost: Callable[[Claim], None]
    ) -> None:
        """Begin without any.

        Args:
            on_route: told of each claim, with the one that it replaces.
            on_lost: told of labels that lead nowhere from now on.
        """
        self._on_route = on_route
        self._on_lost = on_lost
        self.claims: dict[str, Claim] = {}

    def add(self, app: App, url_of: Callable[[str], str]) -> None:
        """Claim the labels of an app's web functions, and note in the app where they are.

        What an app that a container opened or deployed would take from others it does not get;
        nor does any that is changed get back what a later one has taken from it.
        """
        own = bool(app.sponsor)
        before = {label for label, claim in self.claims.items() if claim.function.app is app}
        app.urls, lost = [], set()
        for function in app.functions.values():
            for method, form in checked.forms_of(function.spec).items():
                part = None  # of a server as well: its one method has no name to its users
                if function.spec["methods"] and form["kind"] != "stateless":
                    part = function.spec["methods"][method]["name"]
                label = label_of(app, function.name, part, form)
                held = self.claims.get(label)
                if held is not None and held.function.app is not app:
                    if own or label in app.lost_labels:
                        lost.add(label)
                        continue
                    held.function.app.lost_labels.add(label)
                claim = Claim(
                    label=label, function=function, method=method, form=form,
                    name=function.name if part is None else f"{function.name}.{part}",
                    domains=() if own else tuple(form["custom_domains"]),
                    parameters=Parameters(function.spec["schema"] or b""),
                )  # fmt: skip
                self.claims[label] = claim
                before.discard(label)
                app.urls.append([function.name, part, url_of(label)])
                self._on_route(claim, held)
        app.lost_labels = lost
        for label in before:  # of an earlier version
            self._on_lost(self.claims.pop(label))

    def remove(self, app: App) -> None:
        """Give up the labels that an app still holds."""
        for label, claim in list(self.claims.items()):
            if claim.function.app is app:
                del self.claims[label]
                self._on_lost(claim)


def label_of(app: App, function: str, method: str | None, form: dict[str, Any]) -> str:
    """The label of a web function: what its host begins with.

    Behind it comes that of its environment, parted by what no other label has in it: so no app
    of another environment can have the same.
    """
    parts = [app.name, function, *([method] if method is not None else [])]
    text = form["label"] or "-".join(parts)
    if app.state != "deployed":
        text += "-dev"
    if not app.environment.web_suffix:
        return slug(text)
    end = PARTED_BY + app.environment.web_suffix
    return slug(text, checked.LABEL_CHARS_MAX - len(end)) + end


def slug(text: str, chars_max: int = checked.LABEL_CHARS_MAX) -> str:
    """A text as one part of a host name; one that is too long is cut, and told apart by a hash."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "app"
    if len(label) <= chars_max:
        return label
    digest = hashlib.sha256(text.encode()).hexdigest()[:HASH_CHARS]
    return f"{label[: chars_max - HASH_CHARS - 1].rstrip('-')}-{digest}"
