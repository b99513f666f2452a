"""What a client learns of a deployed function when it is first used.

A looked-up handle asks nobody until it is called or asked for what only the hub knows. Then it has
a number on this process's connection, which means the function in whatever version is served.
"""

from __future__ import annotations

from volant.sdk.calls.calling import Binding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.channel.channel import Channel


#: What options are changed from where nobody here knows them.
_UNKNOWN = {"retries": {"memory_multiplier": 1.0}, "memory_limit_mib": None}


def changed_options(before: dict[str, object], given: Any) -> dict[str, object]:
    """What `with_options` changes of something that was looked up.

    Raises:
        InvalidError: for a value that makes no sense, naming it.
    """
    from volant.sdk.options import checked_variant

    return checked_variant({**_UNKNOWN, **before}, given)


class Named:
    """What names a deployed function or class: its name, its app's and environment's, or an id."""

    __slots__ = (
        "_binding", "_facts", "app_name", "environment", "function_id", "is_class", "name",
        "version",
    )  # fmt: skip

    def __init__(
        self, app_name: str, name: str, version: int | None, function_id: str | None = None,
        environment: str | None = None, *, is_class: bool = False,
    ) -> None:  # fmt: skip
        self.app_name = app_name
        self.name = name
        self.version = version
        self.function_id = function_id
        self.environment = environment
        self.is_class = is_class
        self._facts: dict[str, Any] = {}
        self._binding: Binding | None = None

    def as_arguments(self) -> tuple[str, str, int | None, str | None, str | None]:
        """What makes another one like it."""
        return self.app_name, self.name, self.version, self.function_id, self.environment

    def facts(self) -> dict[str, Any]:
        """What the hub told of it: see `function_lookup` there.

        Raises:
            NotFoundError: when it is not deployed.
            ConnectionError: when no daemon can be reached.
        """
        self.binding()
        return self._facts

    def binding(self) -> Binding:
        """Where its calls go, asked for once in each process.

        Raises:
            NotFoundError: when it is not deployed.
            ConnectionError: when no daemon can be reached.
        """
        found = self._binding
        if found is not None and not found.channel.closed:
            return found
        from volant.channel import current

        channel = current.channel()
        number = channel.lane_tokens.next_functions(1)
        self._facts = self._ask(channel, number)
        found = Binding(channel, number, self._facts["name"], None, self._facts["function_id"])
        found.set_urls(self._facts["urls"])
        self._binding = found
        channel.on_reconnect.append(self._look_up_again)
        return found

    def _ask(self, channel: Channel, number: int, *, leads: bool = False) -> dict[str, Any]:
        fields = {
            "app": self.app_name, "name": self.name, "version": self.version, "number": number,
            "function_id": self.function_id, "is_class": self.is_class,
            "environment": self.environment,
        }  # fmt: skip
        ask = channel.direct_request if leads else channel.request
        reply: dict[str, Any] = ask("function_lookup", **fields)
        return reply

    def _look_up_again(self) -> None:
        """Give the number its meaning on a new connection (on the leading thread)."""
        from volant.errors import Error

        binding = self._binding
        if binding is None:
            return
        try:
            self._facts = self._ask(binding.channel, binding.number, leads=True)
        except Error:
            return  # not deployed any more: its calls are told so
        binding.set_urls(self._facts["urls"])
        for variant in binding.variants.values():
            variant.tell()
