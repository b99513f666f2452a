"""How a described function answers to the web, checked before anybody acts on it."""

from __future__ import annotations

from typing import Any

from volantd.fields import mapping, number, optional, sequence, switch, text, whole
from volantd.hub.web.queries import Parameters

KINDS = frozenset({"asgi", "wsgi", "fastapi", "server", "stateless"})
#: Those that a server of the user's own answers, at a port.
_AT_PORTS = frozenset({"server", "stateless"})
METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})
#: Characters of a label, which is part of a host name, and of a whole host name.
LABEL_CHARS_MAX = 63
DOMAIN_CHARS_MAX = 253
#: Domains of one function.
DOMAINS_MAX = 32
PORT_MAX = 65535
#: How long a server may let requests finish.
DRAIN_S_MAX = 86400
#: Requests of one session that owns a container, at once.
SESSION_REQUESTS_MAX = 1000
#: How long one may have to need another container.
SCALEUP_WINDOW_S_MAX = 3600
_LABEL_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def check(function: dict[str, Any]) -> None:
    """Make sure of the field `web` of a function and of its methods.

    Raises:
        ValueError: naming the field that is not what it has to be.
        KeyError: when one is missing.
    """
    methods = sequence(function, "methods")
    optional(mapping, function, "web")
    if function["web"] is not None:
        if methods:
            raise ValueError("a class answers to the web by its methods")
        _check_form(function["web"])
    for method in methods:
        optional(mapping, method, "web")
        if method["web"] is not None:
            _check_form(method["web"])
    if methods and forms_of(function):
        Parameters(function["schema"] or b"")
    if forms_of(function) and function["options"]["batch_size"]:
        raise ValueError("requests cannot be taken together")
    if len(methods) > 1 and drain_s_of(function) is not None:
        raise ValueError("a server has one way to answer")
    for form in forms_of(function).values():
        has_sessions = form.get("session_requests_max") is not None
        if has_sessions and not (form["kind"] == "stateless" and function["options"]["single_use"]):
            raise ValueError("a session owns a container of a server")
    if function["web"] is not None and function["web"]["kind"] == "stateless":
        raise ValueError("a server is a class")


def forms_of(spec: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """How a described function answers to the web, by the index of the method; 0 if it is no class.

    Empty for a function that does not.
    """
    described = spec["methods"] or [spec]
    return {index: one["web"] for index, one in enumerate(described) if one["web"] is not None}


def drain_s_of(spec: dict[str, Any]) -> float | None:
    """How long a server lets requests finish at its end; None for what is no server."""
    for form in forms_of(spec).values():
        if form["kind"] == "stateless":
            return float(form["drain_s"])
    return None


def scaleup_window_s_of(spec: dict[str, Any]) -> float:
    """How long a server has to need another container until it gets one; 0 for what is none."""
    return max(
        (float(form.get("scaleup_window_s", 0)) for form in forms_of(spec).values()), default=0
    )


def _check_form(web: dict[str, Any]) -> None:
    kind = text(web, "kind")
    if kind not in KINDS:
        raise ValueError(f"no function answers as {kind[:LABEL_CHARS_MAX]!r}")
    switch(web, "docs")
    switch(web, "requires_proxy_auth")
    optional(text, web, "label")
    if web["label"] is not None and not is_label(web["label"]):
        raise ValueError(f"{web['label'][:LABEL_CHARS_MAX]!r} cannot be a label")
    optional(text, web, "method")
    if web["method"] not in (METHODS if kind == "fastapi" else (None,)):
        raise ValueError("the method of a request is not what it has to be")
    for name in ("port", "startup_timeout_s"):
        if (web[name] is not None) != (kind in _AT_PORTS):
            raise ValueError(f"`{name}` is of servers, and of all of them")
    optional(whole, web, "port", 1, PORT_MAX)
    optional(number, web, "startup_timeout_s", 0.001)
    if kind == "stateless":
        number(web, "drain_s", 0, DRAIN_S_MAX)
        optional(
            whole, {"session_requests_max": None, **web}, "session_requests_max",
            1, SESSION_REQUESTS_MAX,
        )  # fmt: skip
        number({"scaleup_window_s": 0, **web}, "scaleup_window_s", 0, SCALEUP_WINDOW_S_MAX)
        switch({"h2_enabled": False, **web}, "h2_enabled")
    domains = sequence(web, "custom_domains")
    if len(domains) > DOMAINS_MAX or not all(map(_is_domain, domains)):
        raise ValueError("the domains are too many, or one is none")


def is_label(label: str) -> bool:
    """Whether this can be one part of a host name."""
    fits = 0 < len(label) <= LABEL_CHARS_MAX and _LABEL_CHARS.issuperset(label)
    return fits and label[0] != "-" and label[-1] != "-"


def _is_domain(domain: object) -> bool:
    """Whether this is a host name, or stands for all below one: `*.example.com`."""
    if not isinstance(domain, str) or len(domain) > DOMAIN_CHARS_MAX:
        return False
    return all(map(is_label, domain.removeprefix("*.").split(".")))
