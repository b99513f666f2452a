"""What `volant curl` makes of the words that say where a request goes."""

from __future__ import annotations

import pytest

from volant.cli.commands.curl.targets import address_of
from volant.cli.failures import Refused


def row(app: str, name: str, *, auth: bool = False, deployed: bool = True) -> dict[str, object]:
    label = f"{app}-{name}".lower().replace(".", "-") + ("" if deployed else "-dev")
    return {
        "app": app, "app_id": f"ap-{app}", "deployed": deployed, "name": name, "label": label,
        "url": f"http://{label}.localhost:3000/", "requires_proxy_auth": auth,
    }  # fmt: skip


ROWS = [
    row("api", "web"),
    row("api", "guarded", auth=True),
    row("api", "web", deployed=False),
    row("shop", "Model.first"),
    row("shop", "Model.second"),
    row("shop", "Other.only"),
]


@pytest.mark.parametrize(
    ("target", "url", "wants_token"),
    [
        ("api/web", "http://api-web.localhost:3000/", False),
        ("ap-api/web/a/b?c=/d", "http://api-web.localhost:3000/a/b?c=/d", False),
        ("api/guarded?x=1", "http://api-guarded.localhost:3000/?x=1", True),
        ("shop/Model.second", "http://shop-model-second.localhost:3000/", False),
        ("shop/Other", "http://shop-other-only.localhost:3000/", False),
        ("localhost:3000/api-guarded/x", "http://localhost:3000/api-guarded/x", True),
        ("http://127.0.0.1:3000/api-guarded", "http://127.0.0.1:3000/api-guarded", True),
        ("http://api-guarded.localhost:3000/", "http://api-guarded.localhost:3000/", True),
        # None of these is known to lead to this home's gateway.
        ("http://127.0.0.1:3001/api-guarded/", "http://127.0.0.1:3001/api-guarded/", False),
        ("https://127.0.0.1:3000/api-guarded/", "https://127.0.0.1:3000/api-guarded/", False),
        ("http://example.com:3000/api-guarded/", "http://example.com:3000/api-guarded/", False),
        ("http://api-guarded.localhost/", "http://api-guarded.localhost/", False),
    ],
)
def test_targets_that_lead_somewhere(target: str, url: str, wants_token: bool) -> None:
    assert address_of(target, ROWS) == (url, wants_token)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("apis/web", "no app `apis` with web functions"),
        ("api/nothing", "`api/nothing` is no web function"),
        ("api", "`api` is no web function"),
        ("shop/Model", "several methods of `shop/Model` answer to the web"),
    ],
)
def test_targets_that_do_not(target: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as refused:
        address_of(target, ROWS)
    assert refused.value.hints


def test_an_address_needs_no_daemon_and_a_name_does() -> None:
    assert address_of("http://example.com/", None) == ("http://example.com/", False)
    with pytest.raises(Refused, match="not running"):
        address_of("api/web", None)
