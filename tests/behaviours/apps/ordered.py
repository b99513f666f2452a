"""A class that notes when each of its parts runs, and leaves that in a volume."""

from __future__ import annotations

from typing import Any

import volant

app = volant.App("ordered")
volume = volant.Volume.from_name("behaviours-ordered", create_if_missing=True)


@app.cls(enable_memory_snapshot=True, max_containers=1, volumes={"/data": volume})
class Ordered:
    @volant.enter(snap=True)
    def load(self) -> None:
        self.order = ["enter(snap=True)"]

    @volant.enter()
    def warm(self) -> None:
        self.order.append("enter")

    @volant.enter()
    async def warm_async(self) -> None:
        self.order.append("async enter")

    @volant.asgi_app()
    def web(self) -> Any:
        """An app that notes its lifespan and its requests."""

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                self.order.append("input")
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"answered"})
                return
            for word in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{word}"
                self.order.append(f"ASGI {word}")
                await send({"type": f"lifespan.{word}.complete"})

        return answer

    @volant.exit()
    def leave(self) -> None:
        self.order.append("exit")

    @volant.exit()
    async def leave_async(self) -> None:
        self.order.append("async exit")
        with open("/data/order", "w") as file:  # noqa: ASYNC230  # there is nothing beside it
            file.write("\n".join(self.order))
