"""Functions of deployed apps: `Function.from_name` and `Function.from_id`."""

from __future__ import annotations

from volant.errors import ExecutionError
from volant.sdk.calls.variants import variant_of
from volant.sdk.deploying.hydrating import Named, changed_options
from volant.sdk.function import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from typing_extensions import Unpack

    from volant.sdk.calls.calling import Binding
    from volant.sdk.options import VariantOptions


class LookedUpFunction(Function[..., "Any", "Any"]):
    """A function of a deployed app, or a pool beside its own, of which only the names are known."""

    def __init__(self, named: Named, changes: dict[str, object] | None = None) -> None:
        """`changes`: options of a pool of its own, as control messages carry them."""
        from volant.sdk.app import App

        self._named = named
        self._changes = changes or {}
        super().__init__(
            self._absent, app=App(named.app_name or None), name=named.name or "function",
            options={}, image=None, serialized=True, is_async=False, is_generator=False,
            include_source=False,
        )  # fmt: skip

    def __repr__(self) -> str:
        where = self._named.function_id or f"{self._named.app_name}.{self.name}"
        return f"<volant.Function {where!r}, deployed>"

    def __reduce__(self) -> tuple[object, ...]:
        return _function, (self._named.as_arguments(), self._changes)

    def _absent(self, *args: object, **kwargs: object) -> NoReturn:
        found = f"in app `{self._app.name}`"
        if self._named.function_id is not None:
            found = f"by its id {self._named.function_id}"
        raise ExecutionError(
            f"`{self.name}` was looked up {found} and cannot run locally",
            hint=f"use `{self.name}.remote(...)`, or import the function to use `.local(...)`",
        )

    def _bound(self) -> Binding:
        return variant_of(self._named.binding(), self._changes, b"")

    def _bound_to_call(self, form: str) -> Binding:
        if self._named.facts()["is_web"]:
            from volant.sdk.web.reached import refusal

            raise refusal(self._named.facts()["name"], form, self.get_web_url())
        return self._bound()

    # What plain functions know from the start.

    @property
    def is_generator(self) -> bool:
        """Whether it yields.

        Raises:
            NotFoundError: when it is not deployed.
        """
        return bool(self._named.facts()["is_generator"])

    @is_generator.setter
    def is_generator(self, _: bool) -> None:
        pass

    @property
    def object_id(self) -> str | None:
        """Its id (`fu-…`), the same in all versions; None until it was used or hydrated."""
        binding = self._named._binding
        return None if binding is None else binding.function_id

    def with_options(self, **options: Unpack[VariantOptions]) -> LookedUpFunction:
        """The function with other options, in a pool of its own; asks nobody."""
        return self._changed(changed_options(self._changes, options))

    def with_concurrency(
        self, *, max_inputs: int, target_inputs: int | None = None
    ) -> LookedUpFunction:
        """The function with containers that run several inputs at once."""
        from volant.sdk.inputs.concurrency import checked_inputs

        return self._changed(checked_inputs(max_inputs, target_inputs))

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> LookedUpFunction:
        """The function with other batches."""
        from volant.sdk.inputs.batching import checked_batch

        return self._changed(checked_batch(max_batch_size, wait_ms))

    def _changed(self, changes: dict[str, object]) -> LookedUpFunction:
        return LookedUpFunction(self._named, {**self._changes, **changes})


def _function(arguments: tuple[Any, ...], changes: dict[str, object]) -> LookedUpFunction:
    return LookedUpFunction(Named(*arguments), changes)


def from_name(
    app_name: str, name: str, version: int | None, environment: str | None = None
) -> LookedUpFunction:
    """See `Function.from_name`."""
    from volant.sdk.naming import check_environment, check_name, check_version

    check_name("an app", app_name)
    if "." in name:
        from volant.errors import InvalidError

        cls, _, method = name.partition(".")
        raise InvalidError(
            f"`{name}` is a method, which Function.from_name cannot look up",
            hint=f'write volant.Cls.from_name("{app_name}", "{cls}")().{method}',
        )
    check_name("a function", name)
    check_version(version)
    check_environment(environment)
    return LookedUpFunction(Named(app_name, name, version, None, environment))


def from_id(function_id: str) -> LookedUpFunction:
    """See `Function.from_id`."""
    from volant.sdk.naming import check_id

    check_id("a function", function_id, "fu-")
    return LookedUpFunction(Named("", "", None, function_id))
