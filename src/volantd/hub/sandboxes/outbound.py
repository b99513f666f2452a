"""Whom a sandbox may reach, as clients say it: checked, and secrets put where they belong."""

from __future__ import annotations

import ipaddress
import string
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError, PermissionDeniedError
from volantd.egress import policy as rules
from volantd.egress.policy import Policy, Replacement
from volantd.fields import mapping, optional, sequence, text
from volantd.hub.sandboxes import checked
from volantd.hub.secrets import layers

if TYPE_CHECKING:
    from volantd.hub.environments.record import Environment
    from volantd.hub.secrets.stored import Secrets
    from volantd.hub.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A replacement of headers, before its secret is looked up.

    Attributes:
        headers: name -> value, in which `${NAME}` stands for a variable of the secret.
        stored: layers of secrets that the hub knows.
        values: variables of a secret that the client has sent.
        has_secret: whether there is a secret; without one values are sent as they are.
    """

    domain: str
    headers: dict[str, str] = field(repr=False)
    stored: list[dict[str, Any]]
    values: dict[str, str] = field(repr=False)
    has_secret: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """Whom a sandbox may reach: `policy` is without the replacements."""

    policy: Policy
    wanted: tuple[Wanted, ...]

    def filled(self, secrets: Secrets, environment: Environment) -> Policy:
        """The policy with its replacements, in which secrets stand in clear.

        Args:
            environment: where secrets are that name none.

        Raises:
            InvalidError: for a variable that a secret has not.
            Error: when a secret is not there.
        """
        made = tuple(_filled(one, secrets, environment) for one in self.wanted)
        return replace(self.policy, replacements=made)


def _filled(wanted: Wanted, secrets: Secrets, environment: Environment) -> Replacement:
    headers = wanted.headers
    if wanted.has_secret:
        stored = secrets.layered(wanted.stored, environment) if wanted.stored else {}
        variables = {**stored, **wanted.values}
        try:
            headers = {
                name: string.Template(value).substitute(variables)
                for name, value in headers.items()
            }
        except KeyError as error:
            raise InvalidError(
                f"the secret of {wanted.domain!r} has no variable {error.args[0]!r}",
                hint="headers name its variables as ${NAME}",
            ) from None
        except ValueError:
            raise InvalidError(
                f"a header for {wanted.domain!r} has a $ that names no variable",
                hint="write $$ for a dollar sign",
            ) from None
    try:
        return Replacement(domain=wanted.domain, headers=rules.checked_headers(headers))
    except ValueError as error:
        raise InvalidError(str(error)) from None


def outbound_of(session: Session, told: dict[str, Any]) -> Outbound | None:
    """What a description says of whom its sandbox may reach; None when it says nothing.

    Raises:
        InvalidError: for what is no list of networks or domains, or no replacement.
        PermissionDeniedError: for user code that has no network itself.
        ValueError, KeyError: for what no SDK sends.
    """
    told = {"outbound": None, **told}
    optional(mapping, told, "outbound")
    fields: dict[str, Any] | None = told["outbound"]
    if fields is None:
        return None
    own = session.container_function
    if own is not None and own.version.block_network:
        raise PermissionDeniedError(
            "this container has no network, so its sandboxes have none either",
            hint="leave block_network=True out of its @app.function",
        )
    for name in ("networks", "domains"):
        optional(sequence, fields, name)
    is_open = fields["networks"] is None and fields["domains"] is None
    wanted = sequence(fields, "replacements")
    if len(wanted) > rules.REPLACEMENTS_MAX:
        raise InvalidError(f"at most {rules.REPLACEMENTS_MAX} domains have headers replaced")
    networks, domains = fields["networks"] or [], fields["domains"] or []
    if len(networks) > rules.NETWORKS_MAX or len(domains) > rules.DOMAINS_MAX:
        raise InvalidError(
            f"at most {rules.NETWORKS_MAX} networks and {rules.DOMAINS_MAX} domains are allowed"
        )
    try:
        policy = Policy(
            networks=tuple(ipaddress.ip_network(_word(one)) for one in networks),
            domains=tuple(rules.checked_domain(_word(one)) for one in domains), is_open=is_open,
        )  # fmt: skip
    except ValueError as error:
        raise InvalidError(f"a list of whom a sandbox may reach: {error}") from None
    return Outbound(policy=policy, wanted=tuple(_wanted(session, one) for one in wanted))


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:100]!r} is no text")
    return value


def _wanted(session: Session, fields: object) -> Wanted:
    if not isinstance(fields, dict):
        raise ValueError("a replacement is no map")
    headers = checked.variables(fields, "headers")
    layers.check(fields)
    own = session.container_function
    if own is not None:
        layers.confine(fields.get("stored", ()), own.options)
    try:
        domain = rules.checked_domain(text(fields, "domain"))
        has_secret = "stored" in fields or bool(fields["secrets"])
        if not has_secret:
            rules.checked_headers(headers)
    except ValueError as error:
        raise InvalidError(str(error)) from None
    return Wanted(
        domain=domain, headers=headers, stored=fields.get("stored", []),
        values=checked.variables(fields, "secrets"), has_secret=has_secret,
    )  # fmt: skip


def networks_of(told: dict[str, Any], name: str) -> tuple[rules.Network, ...] | None:
    """A list of networks, or None.

    Raises:
        InvalidError: for what are none, or too many.
    """
    told = {name: None, **told}
    optional(sequence, told, name)
    if told[name] is None:
        return None
    if len(told[name]) > rules.NETWORKS_MAX:
        raise InvalidError(f"at most {rules.NETWORKS_MAX} networks are allowed")
    try:
        return tuple(ipaddress.ip_network(_word(one)) for one in told[name])
    except ValueError as error:
        raise InvalidError(f"a list of networks: {error}") from None
