"""The command line of `volant mcp`."""

from __future__ import annotations

import importlib.util

import click

from volant.cli.failures import Refused

#: Sandboxes of one server that live at once, unless somebody says otherwise.
SANDBOXES_MAX = 16
#: MiB that a sandbox has, and the most that it can ask for, unless somebody says otherwise.
MEMORY_MAX_MIB = 2048

EPILOG = """\b
Examples:
  volant mcp
  volant mcp --image debian --image python:3.12-slim --allow-domain pypi.org
  volant mcp --keep assistant

\b
As one line of the configuration of a client:
  {"mcpServers": {"volant": {"command": "volant", "args": ["mcp"]}}}
"""


@click.command("mcp", epilog=EPILOG)
@click.option(
    "--image", "images", metavar="IMAGE", multiple=True, default=("debian",),
    help="An image that sandboxes may be made of; may come several times, the first is the default."
    " `debian`, `host`, an image of a registry, or `name:` and one that was published."
    " [default: debian]",
)  # fmt: skip
@click.option(
    "--allow-network", is_flag=True,
    help="Let a client ask for sandboxes that reach the internet, though not this machine.",
)  # fmt: skip
@click.option(
    "--allow-domain", "domains", metavar="DOMAIN", multiple=True,
    help="Let a client ask for sandboxes that reach this domain; may come several times.",
)  # fmt: skip
@click.option(
    "--max-sandboxes", type=click.IntRange(1, 1000), default=SANDBOXES_MAX, show_default=True,
    help="Sandboxes that live at once.",
)  # fmt: skip
@click.option(
    "--max-memory", type=click.IntRange(64), default=MEMORY_MAX_MIB, show_default=True,
    metavar="MIB", help="Memory of a sandbox, and the most that it can ask for.",
)  # fmt: skip
@click.option(
    "--keep", "kept_app", metavar="APP",
    help="Make sandboxes in this deployed app, where they go on when the server ends.",
)  # fmt: skip
def group(
    images: tuple[str, ...], allow_network: bool, domains: tuple[str, ...], max_sandboxes: int,
    max_memory: int, kept_app: str | None,
) -> int:  # fmt: skip
    """Serve sandboxes to an MCP client, over stdin and stdout.

    The client gets tools to make sandboxes, run commands and Python in them, and read and write
    their files. It gets nothing else of this machine. Sandboxes have no network, and end with the
    server, unless options say otherwise.
    """
    if importlib.util.find_spec("mcp") is None:
        raise Refused(
            "the package `mcp` is not installed", hint="`pip install 'volant[mcp]'` brings it"
        )
    from volant.cli.commands.mcp.offer import Offer
    from volant.cli.commands.mcp.serving import serve

    offer = Offer(
        images=images, allows_network=allow_network, domains=domains,
        sandboxes_max=max_sandboxes, memory_max_mib=max_memory,
    )  # fmt: skip
    offer.image(None, None, ())  # what is wrong with the default is said at once
    return serve(offer, kept_app)
