"""Tunnels of a machine whose gateway has a certificate: what passes them is encrypted with it."""

from __future__ import annotations

import ssl
import urllib.request
from typing import TYPE_CHECKING

import pytest

import volant
from tests import certificates
from tests.behaviours.apps import forwarding
from tests.behaviours.programs import at_home
from volant.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVE = "exec python3 -u -m http.server {port}"


@pytest.fixture
def context(own_home: Path, tmp_path: Path) -> Iterator[ssl.SSLContext]:
    """What trusts the certificate of a home that has one."""
    cert, key = certificates.make(tmp_path)
    settings = f"gateway_port = 0\ngateway_tls_cert = '{cert}'\ngateway_tls_key = '{key}'\n"
    (own_home / "config.toml").write_text(settings)
    with at_home(own_home):
        yield ssl.create_default_context(cafile=str(cert))


def _status(url: str, context: ssl.SSLContext) -> int:
    with urllib.request.urlopen(url, timeout=30, context=context) as answer:
        status: int = answer.status
        return status


def test_ports_of_a_sandbox_are_encrypted_unless_it_says_otherwise(
    context: ssl.SSLContext,
) -> None:
    """Behaviour 119: by port; `https` for those that are encrypted, host and port for others."""
    with volant.App("encrypted").run() as running:
        sandbox = volant.Sandbox.create(
            app=running, encrypted_ports=[8443], h2_ports=[8444], unencrypted_ports=[8000]
        )
        for port in (8443, 8444, 8000):
            server = sandbox.exec("sh", "-c", SERVE.format(port=port))
            assert "Serving" in next(iter(server.stdout))
        tunnels = sandbox.tunnels()
        assert sorted(tunnels) == [8000, 8443, 8444]
        for port in (8443, 8444):
            tunnel = tunnels[port]
            assert tunnel.url == f"https://{tunnel.host}:{tunnel.port}"
            assert tunnel.tls_socket == (tunnel.host, tunnel.port)
            assert _status(tunnel.url, context) == 200
            with pytest.raises(InvalidError, match="unencrypted=True"):
                _ = tunnel.tcp_socket
        plain = tunnels[8000]
        assert plain.tcp_socket == (plain.unencrypted_host, plain.unencrypted_port)
        assert _status(f"http://{plain.host}:{plain.port}", context) == 200
        with pytest.raises(InvalidError, match="no TLS"):
            _ = plain.tls_socket
        sandbox.terminate(wait=True)


def test_a_forwarded_port_is_encrypted_unless_it_says_otherwise(context: ssl.SSLContext) -> None:
    with forwarding.app.run():
        plain = forwarding.serve.remote_gen("hello")
        assert next(plain)["url"].startswith("http://")
        plain.close()
        encrypted = forwarding.serve_encrypted.remote_gen("hello")
        url = next(encrypted)["url"]
        assert url.startswith("https://")
        assert _status(url, context) == 200
        encrypted.close()
