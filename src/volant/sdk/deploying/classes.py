"""Classes of deployed apps: `Cls.from_name`, their objects and methods."""

from __future__ import annotations

from volant.errors import ExecutionError, InvalidError, NotFoundError
from volant.sdk.calls.variants import variant_of
from volant.sdk.classes.handles import Cls, Obj
from volant.sdk.classes.schema import KnownParameters
from volant.sdk.deploying.hydrating import Named, changed_options
from volant.sdk.function import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from typing_extensions import Unpack

    from volant.sdk.calls.calling import Binding
    from volant.sdk.options import VariantOptions
    from volant.sdk.web.urls import GetWebUrl


class LookedUpCls(Cls):
    """A class of a deployed app; what it has is known where it is deployed."""

    def __init__(self, named: Named, options: dict[str, object] | None = None) -> None:
        self._named = named
        #: What `with_options` and the like have changed.
        self._options = options or {}
        self.__name__ = self.__qualname__ = named.name

    def __repr__(self) -> str:
        return f"<volant.Cls {self._named.app_name}.{self._named.name!r}, deployed>"

    def __reduce__(self) -> tuple[object, ...]:
        return _class, (self._named.as_arguments(), self._options)

    def __mro_entries__(self, bases: tuple[object, ...]) -> NoReturn:
        raise TypeError(f"`{self.__name__}` was looked up, so no class can be derived from it")

    def __call__(self, *args: Any, **kwargs: Any) -> LookedUpObj:
        """A handle on the instances with these parameters; asks nobody.

        Raises:
            InvalidError: for parameters that the class does not have, or lacks; where nothing was
                asked of it yet, when the handle is first used.
        """
        made = LookedUpObj(self, (args, kwargs))
        if self._named._binding is not None:
            made._parameters()
        return made

    def _encoded(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Parameters as calls have them.

        Raises:
            NotFoundError: when the class is not deployed.
            InvalidError: for parameters that the class does not have, or lacks.
        """
        known = KnownParameters(self._named.name, self._named.facts()["schema"])
        return known.encode(args, kwargs)

    def _changed(self, options: dict[str, object]) -> LookedUpCls:
        return LookedUpCls(self._named, {**self._options, **options})

    def with_options(self, **options: Any) -> LookedUpCls:
        """The class with other options, in pools of its own; asks nobody."""
        return self._changed(changed_options(self._options, options))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"`{self.__name__}.{name}` is reached on instances. Did you forget to instantiate "
            f"`{self.__name__}`?\nhint: write {self.__name__}(...).{name}"
        )

    @property
    def object_id(self) -> str | None:
        """Its id, the same in all versions; None until it was used or hydrated."""
        binding = self._named._binding
        return None if binding is None else binding.function_id

    @property
    def hydrate(self) -> Any:
        """The class itself, once it is known to be deployed: `C.hydrate()`."""
        from volant.sdk.calls.forms import Hydrate

        return Hydrate(self, self._named.binding)


def _class(arguments: tuple[Any, ...], options: dict[str, object]) -> LookedUpCls:
    return LookedUpCls(Named(*arguments, is_class=True), options)


class LookedUpObj(Obj):
    """A handle on the instances of a deployed class with one set of parameters."""

    def __init__(self, cls: LookedUpCls, given: bytes | tuple[Any, Any]) -> None:
        """`given`: the parameters as bytes, or (args, kwargs) of whom nobody has asked yet."""
        self._cls = cls
        self._given = given
        self._bound_methods = {}

    def __repr__(self) -> str:
        return f"<volant.Obj of {self._cls.__name__!r}, deployed>"

    def __reduce__(self) -> tuple[object, ...]:
        return LookedUpObj, (self._cls, self._given)

    def _parameters(self) -> bytes:
        """The parameters as calls have them; the first time they are asked for.

        Raises:
            NotFoundError: when the class is not deployed.
            InvalidError: for parameters that the class does not have, or lacks.
        """
        given = self._given
        if not isinstance(given, bytes):
            given = self._given = _looked_up(self._cls)._encoded(*given)
        return given

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in ("autoscaler", "update_autoscaler", "get_current_stats"):
            return self._of_pool(name)
        named = _named(self._cls)
        methods = named.facts()["methods"]
        for index, method in enumerate(methods):
            if method["name"] == name:
                return LookedUpMethod(self, name, index, method)
        raise NotFoundError(
            f"class `{named.name}` of app `{named.app_name}` has no method `{name}`",
            hint="it has "
            + ", ".join(method["name"] for method in methods)
            + "; other attributes are those of instances, which live in containers",
        )

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            raise InvalidError(
                f"`{self._cls.__name__}` was looked up: attributes of its instances cannot be set",
                hint="make it a parameter of the class, or an argument of a method",
            )
        object.__setattr__(self, name, value)

    def _pool(self) -> Binding:
        return variant_of(_named(self._cls).binding(), self._cls._options, self._parameters())


def _looked_up(cls: Cls) -> LookedUpCls:
    assert isinstance(cls, LookedUpCls)
    return cls


def _named(cls: Cls) -> Named:
    return _looked_up(cls)._named


class LookedUpMethod(Function[..., "Any", "Any"]):
    """A method of a deployed class, on the pool of one set of parameters."""

    def __init__(self, handle: LookedUpObj, name: str, index: int, known: dict[str, Any]) -> None:
        from volant.sdk.app import App

        super().__init__(
            self._absent, app=App(_named(handle._cls).app_name), options={}, image=None,
            name=f"{handle._cls.__name__}.{name}", serialized=True, is_async=known["is_async"],
            is_generator=known["is_generator"], include_source=False,
        )  # fmt: skip
        self._handle = handle
        self._method_name = name
        self._index = index
        self._is_web = known["web"] is not None

    def __reduce__(self) -> tuple[object, ...]:
        return getattr, (self._handle, self._method_name)

    def _absent(self, *args: object, **kwargs: object) -> NoReturn:
        raise ExecutionError(
            f"`{self.name}` was looked up in app `{self._app.name}` and cannot run locally",
            hint=f"use `.{self._method_name}.remote(...)`",
        )

    def _bound(self) -> Binding:
        return self._handle._pool().method(self._index)

    def _bound_to_call(self, form: str) -> Binding:
        if self._is_web:
            from volant.sdk.web.reached import refusal

            raise refusal(self.name, form, self.get_web_url())
        return self._bound()

    def with_options(self, **options: Unpack[VariantOptions]) -> LookedUpMethod:
        """The method of an equal object of the class with other options; asks nobody."""
        return self._of(_looked_up(self._handle._cls).with_options(**options))

    def with_concurrency(
        self, *, max_inputs: int, target_inputs: int | None = None
    ) -> LookedUpMethod:
        """The method of an equal object whose containers run several inputs at once."""
        from volant.sdk.inputs.concurrency import checked_inputs

        changes = checked_inputs(max_inputs, target_inputs)
        return self._of(_looked_up(self._handle._cls)._changed(changes))

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> LookedUpMethod:
        """The method of an equal object with other batches."""
        from volant.sdk.inputs.batching import checked_batch

        changes = checked_batch(max_batch_size, wait_ms)
        return self._of(_looked_up(self._handle._cls)._changed(changes))

    def _of(self, cls: LookedUpCls) -> LookedUpMethod:
        made: LookedUpMethod = getattr(LookedUpObj(cls, self._handle._given), self._method_name)
        return made

    @property
    def get_web_url(self) -> GetWebUrl:
        """Where the method answers to the web: `obj.method.get_web_url()`."""
        from volant.sdk.web.urls import GetWebUrl

        bound = _named(self._handle._cls).binding
        return GetWebUrl(bound, self._method_name, self._handle._parameters())


def from_name(
    app_name: str, name: str, version: int | None, environment: str | None = None
) -> LookedUpCls:
    """See `Cls.from_name`."""
    from volant.sdk.naming import check_environment, check_name, check_version

    check_name("an app", app_name)
    check_name("a class", name)
    check_version(version)
    check_environment(environment)
    return LookedUpCls(Named(app_name, name, version, None, environment, is_class=True))
