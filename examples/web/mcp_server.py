"""An MCP server whose tools run in containers: an AI agent's client takes its address.

$ volant run examples/web/mcp_server.py
words: {'count': 3}
"""

import asyncio

from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette

import volant

app = volant.App("mcp-server")


def server() -> MCPServer:
    tools = MCPServer("words", log_level="WARNING")

    @tools.tool()
    def words(text: str) -> dict[str, int]:
        """Count the words of a text."""
        return {"count": len(text.split())}

    return tools


@app.function()
@volant.concurrent(max_inputs=100)
@volant.asgi_app()
def web() -> Starlette:
    # Volant's gateway has decided already which names it answers to.
    anyone = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return server().streamable_http_app(stateless_http=True, transport_security=anyone)


async def ask(url: str, text: str) -> object:
    """What the tool says."""
    async with Client(url) as client:
        return (await client.call_tool("words", {"text": text})).structured_content


@app.local_entrypoint()
def main(text: str = "three little words") -> None:
    print("words:", asyncio.run(ask(f"{web.get_web_url()}/mcp", text)))
