"""What a setting says of sandboxes whose creator says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import volant
from tests.behaviours.programs import at_home
from tests.behaviours.test_sandbox_network import CONNECT, run, service

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["service"]  # a fixture


def test_the_setting_blocks_those_that_say_nothing(
    own_home: Path, service: tuple[str, int]
) -> None:
    """`sandbox_block_network`: who says nothing reaches nobody, who names somebody that one."""
    (own_home / "config.toml").write_text("sandbox_block_network = true\n")
    host, port = service
    code = CONNECT.format(host=host, port=port)
    with at_home(own_home):
        own = volant.App.lookup("blocked", create_if_missing=True)
        silent = volant.Sandbox.create(app=own)
        assert "Network is unreachable" in run(silent, code)[1]
        devices = silent.exec("cat", "/proc/net/dev").stdout.read().splitlines()[2:]
        assert [line.partition(":")[0].strip() for line in devices] == ["lo"]
        named = volant.Sandbox.create(app=own, outbound_cidr_allowlist=[f"{host}/32"])
        assert run(named, code)[0] == "b'here'"
        for one in (silent, named):
            one.terminate(wait=True)
