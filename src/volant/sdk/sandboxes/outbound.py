"""Whom a sandbox may reach: lists, and headers that its requests get outside of it.

policy = volant.experimental.OutboundPolicy().with_header_replacement(
    domain="api.example.com", headers={"Authorization": "Bearer ${TOKEN}"},
    secret=volant.Secret.from_name("example"),
)
volant.Sandbox.create(app=app, _experimental_outbound_policy=policy)
"""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

#: Domains whose requests one policy changes.
REPLACEMENTS_MAX = 25


class OutboundPolicy:
    """Headers that HTTPS requests of a sandbox get in place of their own. Never changed itself."""

    __slots__ = ("_replacements",)

    def __init__(self) -> None:
        """Make a policy that replaces nothing."""
        self._replacements: tuple[dict[str, object], ...] = ()

    def __repr__(self) -> str:
        domains = ", ".join(str(one["domain"]) for one in self._replacements)
        return f"<volant.experimental.OutboundPolicy for {domains or 'nobody'}>"

    def with_header_replacement(
        self, *, domain: str, headers: Mapping[str, str], secret: object = None
    ) -> OutboundPolicy:
        """This policy, with headers for requests to one more domain.

        Args:
            domain: `api.example.com`, or `*.example.com` for all below it; the first that matches
                counts.
            headers: name -> value. With a secret, `${NAME}` stands for its variable of that name,
                and `$$` for a dollar sign.
            secret: whose variables these are; they never enter the sandbox.

        Raises:
            InvalidError: for what makes no sense, and for more than 25 domains.
        """
        if len(self._replacements) >= REPLACEMENTS_MAX:
            raise InvalidError(f"a policy replaces headers for at most {REPLACEMENTS_MAX} domains")
        good = all(isinstance(one, str) for pair in headers.items() for one in pair)
        if not headers or not good:
            raise InvalidError(
                "headers are a dict of at least one name and its value, both strings",
                hint='headers={"Authorization": "Bearer ${TOKEN}"}',
            )
        stored, values = options.given_secrets(None if secret is None else [secret])
        told: dict[str, object] = {
            "domain": _checked_domain(domain), "headers": dict(headers), "secrets": values,
        }  # fmt: skip
        if stored:
            told["stored"] = stored
        made = OutboundPolicy()
        made._replacements = (*self._replacements, told)
        return made


def checked(
    block_network: bool, cidrs: Sequence[str] | None, domains: Sequence[str] | None, policy: object
) -> dict[str, Any] | None:
    """Whom a sandbox may reach, as a control message carries it; None when nothing is said.

    Raises:
        InvalidError: for what are no networks or domains, what is no policy, and for a network
            that is blocked and has somebody who may be reached.
    """
    if block_network:
        _refuse_contradiction({
            "outbound_cidr_allowlist": cidrs, "outbound_domain_allowlist": domains,
            "_experimental_outbound_policy": policy,
        })  # fmt: skip
    if policy is not None and not isinstance(policy, OutboundPolicy):
        raise InvalidError(
            f"an outbound policy is a volant.experimental.OutboundPolicy, got {policy!r}"
        )
    if cidrs is None and domains is None and policy is None:
        return None
    return {
        "networks": checked_networks("outbound_cidr_allowlist", cidrs),
        "domains": None if domains is None else [
            _checked_domain(one) for one in _listed("outbound_domain_allowlist", domains)
        ],
        "replacements": [] if policy is None else list(policy._replacements),
    }  # fmt: skip


def _refuse_contradiction(given: Mapping[str, object]) -> None:
    said = [name for name, value in given.items() if value is not None]
    if said:
        raise InvalidError(
            f"block_network=True leaves nobody whom {said[0]}= could allow",
            hint=f"leave one of them out: {said[0]}= alone blocks all others",
        )


def checked_networks(name: str, cidrs: Sequence[str] | None) -> list[str] | None:
    """Networks by their addresses, or None.

    Raises:
        InvalidError: for what are none.
    """
    if cidrs is None:
        return None
    import ipaddress

    found = _listed(name, cidrs)
    for one in found:
        try:
            ipaddress.ip_network(one)
        except ValueError as error:
            raise InvalidError(f"{name}: {error}", hint='as in ["203.0.113.0/24"]') from None
    return found


def _listed(name: str, given: Any) -> list[str]:
    is_list = isinstance(given, (list, tuple, set, frozenset))
    if not is_list or not all(isinstance(one, str) for one in given):
        raise InvalidError(f"{name} is a list of strings, got {given!r}")
    return list(given)


def _checked_domain(domain: object) -> str:
    name = domain.removeprefix("*.") if isinstance(domain, str) else ""
    good = name.strip() == name and not set(name) & set("*/:@ ")
    if not name or not good or name.startswith(".") or ".." in name:
        raise InvalidError(
            f"a domain is a name such as 'api.example.com', or '*.example.com', got {domain!r}"
        )
    return str(domain)
