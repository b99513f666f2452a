"""Handles on classes with state: `Cls` in place of the class, `Obj` of an instance, its methods.

    Model                 Cls           what `@app.cls()` leaves under the class's name
    Model(size=4)         Obj           one set of parameters, so one pool; nothing is sent yet
    Model(size=4).ask     BoundMethod   a `Function`: .remote, .local, .map, .spawn ...

To the hub a class is one function whose calls say which method they are for, because one pool
serves them all.
"""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.calls.variants import variant_of
from volant.sdk.classes import marks
from volant.sdk.classes.instance import Instance, complete_here
from volant.sdk.classes.parameters import Parameters
from volant.sdk.function import Function
from volant.sdk.objects.handle import Handle, check_client
from volant.sdk.planned import former
from volant.wire.frames import METHODS_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from typing_extensions import Unpack

    from volant.sdk.app import App
    from volant.sdk.calls.autoscaler import Autoscaler, GetCurrentStats, UpdateAutoscaler
    from volant.sdk.calls.calling import Binding
    from volant.sdk.calls.forms import Hydrate
    from volant.sdk.images.image import Image
    from volant.sdk.objects.client import Client
    from volant.sdk.options import VariantOptions
    from volant.sdk.web.urls import GetWebUrl


class ClassFunction(Function[..., "Any", "Any"]):
    """A class as its app and the hub know it: one function with several methods."""

    def __init__(
        self, cls: Cls, *, app: App, options: dict[str, object], image: Image | None,
        serialized: bool, include_source: bool,
    ) -> None:  # fmt: skip
        user_cls: Any = cls._user_cls
        super().__init__(
            user_cls, app=app, name=user_cls.__name__, options=options, image=image,
            serialized=serialized, is_async=False, is_generator=False,
            include_source=include_source,
        )  # fmt: skip
        self.cls = cls

    def _registered_names(self) -> list[str]:
        """Its methods: `Class.method`."""
        return [f"{self.name}.{method}" for method in self.cls._methods]

    def _cls_handle(self) -> Cls:
        return self.cls

    def _methods(self) -> list[dict[str, object]]:
        return [
            {
                "name": name, "is_async": one.is_async, "is_generator": one.is_generator,
                "web": one.web,
            }
            for name, one in self.cls._methods.items()
        ]  # fmt: skip

    def _web_names(self) -> list[str]:
        """Its methods that answer to the web: `Class.method`."""
        methods = self.cls._methods.items()
        return [f"{self.name}.{name}" for name, one in methods if one.web is not None]

    def _schema(self) -> bytes:
        from volant.sdk.classes.schema import described

        return described(self.cls._parameters)

    def _by_value(self) -> object:
        return _ByValue(self.cls)


class _ByValue:
    """Pickles a class itself, where a `Cls` would only name it."""

    def __init__(self, cls: Cls) -> None:
        self._cls = cls

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self._cls._user_cls,)


def _rebuilt(user_cls: type) -> Cls:
    from volant.sdk.app import App

    cls = Cls(user_cls)
    cls._function = ClassFunction(
        cls, app=App(), options={}, image=None, serialized=True, include_source=False
    )
    return cls


@former(lookup="Cls.from_name(app, name)")
class Cls(Handle):
    """What `@app.cls()` makes of a class; calling it gives an `Obj`.

    Raises:
        InvalidError: for a class whose methods, hooks or parameters make no sense.
    """

    def __init__(self, user_cls: type, options: dict[str, object] | None = None) -> None:
        self._user_cls = user_cls
        #: What `with_options` and the like have changed.
        self._options = options or {}
        self._parameters = Parameters(user_cls)
        self._methods = marks.methods_of(user_cls)
        self._function: ClassFunction
        self._handles: dict[bytes, Obj] = {}
        self.__name__ = user_cls.__name__
        self.__qualname__ = user_cls.__qualname__
        self.__module__ = user_cls.__module__
        self.__doc__ = user_cls.__doc__
        self.__wrapped__ = user_cls
        if len(self._methods) > METHODS_MAX:
            raise InvalidError(
                f"class `{self.__name__}` has {len(self._methods)} methods, at most {METHODS_MAX}"
            )

    def __repr__(self) -> str:
        return f"<volant.Cls {self.__name__!r}>"

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (self._user_cls,)

    def __reduce__(self) -> tuple[object, ...]:
        found = _found, (self.__module__, self.__qualname__)
        return (_with, (self._plain(), self._options)) if self._options else found

    def _plain(self) -> Cls:
        return self._function.cls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """A handle on the instances with these parameters; asks nobody.

        Raises:
            InvalidError: for parameters that the class does not have, or lacks.
        """
        return self._handle(self._parameters.encode(args, kwargs))

    def _handle(self, parameters: bytes) -> Obj:
        found = self._handles.get(parameters)
        if found is None:
            found = self._handles[parameters] = Obj(self, parameters)
        return found

    def serve(self, parameters: bytes) -> Instance:
        """The instance that a container serves; its methods' `.local` runs on it as well."""
        return self._handle(parameters)._instance()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        user_cls = self.__dict__["_user_cls"]
        if name in self.__dict__.get("_methods", ()):
            raise AttributeError(
                f"`{self.__name__}.{name}` is a method of instances. Did you forget to "
                f"instantiate `{self.__name__}`?\nhint: write {self.__name__}(...).{name}"
            )
        return getattr(user_cls, name)

    def with_options(self, **options: Unpack[VariantOptions]) -> Cls:
        """The class with other options, in pools of its own; this one stays as it is.

        Raises:
            InvalidError: for a value that makes no sense, naming it.
        """
        from volant.sdk.options import checked_variant

        before = {**self._function._options, **self._options}
        return self._changed(checked_variant(before, options))

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Cls:
        """The class with containers that run several inputs at once; see `concurrent`."""
        from volant.sdk.inputs.concurrency import checked_inputs

        return self._changed(checked_inputs(max_inputs, target_inputs))

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Cls:
        """The class with other batches; see `batched`."""
        from volant.sdk.inputs.batching import checked_batch

        return self._changed(checked_batch(max_batch_size, wait_ms))

    def _changed(self, options: dict[str, object]) -> Cls:
        return _with(self._plain(), {**self._options, **options})

    @staticmethod
    def from_name(
        app_name: str,
        name: str,
        *,
        version: int | None = None,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> Any:
        """A handle on a class of a deployed app; asks nobody until it is called.

        Args:
            version: one that was deployed before; else it is always the one that is served.

        Raises:
            InvalidError: for names that no app or class can have.
        """
        from volant.sdk.deploying import classes

        check_client(client)
        return classes.from_name(app_name, name, version, environment_name)

    @property
    def object_id(self) -> str | None:
        """Its id while its app is run by this process, else None."""
        return self._function.object_id

    @property
    def hydrate(self) -> Hydrate[Cls]:
        """The class itself, once it can be called: `C.hydrate()`."""
        from volant.sdk.calls.forms import Hydrate

        return Hydrate(self, self._function._bound)


def _with(cls: Cls, options: dict[str, object]) -> Cls:
    made = Cls(cls._user_cls, options)
    made._function = cls._function
    return made


def _found(module: str, qualname: str) -> Any:
    """Find a class again on the side where its pickle is opened."""
    from volant.sdk.function import _import

    return _import(module, qualname)


#: What an object has beside its methods, for its pool alone -> the part of `Autoscaler` it is.
_OF_POOL = {"autoscaler": "", "update_autoscaler": "update_given", "get_current_stats": "stats"}
#: What changes options, and is looked for on objects at first.
_OF_CLASSES = frozenset({"with_options", "with_concurrency", "with_batching"})


class Obj:
    """A handle on the instances of a class with one set of parameters.

    `update_autoscaler`, `autoscaler` and `get_current_stats` are those of its pool, as functions
    have them. Attributes that are no methods are those of an instance in this process, which is
    made when one is first asked for, and entered when a method is first called with `.local()`.
    """

    # Where its class has no attributes of these names.
    autoscaler: Autoscaler
    update_autoscaler: UpdateAutoscaler
    get_current_stats: GetCurrentStats

    def __init__(self, cls: Cls, parameters: bytes) -> None:
        self._cls = cls
        self._data = parameters
        self._local: Instance | None = None
        self._bound_methods: dict[str, BoundMethod] = {}

    def __repr__(self) -> str:
        return f"<volant.Obj of {self._cls.__name__!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        return _object, (self._cls, self._data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._cls._methods:
            return self._method(name)
        if name in _OF_POOL and not hasattr(self._cls._user_cls, name):
            return self._of_pool(name)
        if name in _OF_CLASSES and not hasattr(self._cls._user_cls, name):
            raise AttributeError(
                f"objects of `{self._cls.__name__}` have no `{name}`, their class has\n"
                f"hint: write {self._cls.__name__}.{name}(...)(...)"
            )
        return getattr(self._instance().user, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._instance().user, name, value)

    def _method(self, name: str) -> BoundMethod:
        found = self._bound_methods.get(name)
        if found is None:
            kind = BoundMethod
            if self._cls._methods[name].web is not None:
                from volant.sdk.web.reached import WebMethod as kind
            found = self._bound_methods[name] = kind(self, name)
        return found

    def _of_pool(self, name: str) -> Any:
        from volant.sdk.calls.autoscaler import Autoscaler

        autoscaler = Autoscaler(f"{self._cls.__name__}(...)", self._pool)
        return getattr(autoscaler, _OF_POOL[name]) if _OF_POOL[name] else autoscaler

    def _instance(self) -> Instance:
        if self._local is None:
            cls = self._cls
            self._local = Instance(cls._user_cls, cls._parameters, self._data, self)
        return self._local

    def _pool(self) -> Binding:
        """Where the calls of its pool go.

        Raises:
            ExecutionError: when the app does not run.
        """
        return variant_of(self._cls._function._bound(), self._cls._options, self._data)


def _object(cls: Cls, parameters: bytes) -> Obj:
    return cls._handle(parameters)


class BoundMethod(Function[..., "Any", "Any"]):
    """A method of an `Obj`: a function whose calls go to the pool of that object."""

    def __init__(self, handle: Obj, name: str) -> None:
        method, function = handle._cls._methods[name], handle._cls._function
        super().__init__(
            method.raw, app=function.app, name=f"{function.name}.{name}",
            options=function._options, image=function._image, serialized=function._serialized,
            is_async=method.is_async, is_generator=method.is_generator,
            include_source=function._include_source,
        )  # fmt: skip
        self._handle = handle
        self._method_name = name
        self._index = list(handle._cls._methods).index(name)

    def __reduce__(self) -> tuple[object, ...]:
        return getattr, (self._handle, self._method_name)

    def __call__(self, /, *args: Any, **kwargs: Any) -> NoReturn:
        path = f"{self._handle._cls.__name__}(...).{self._method_name}"
        raise InvalidError(
            f"`{self.name}` is a Volant method and cannot be called directly",
            hint=f"`{path}.remote(...)` runs it in a container, `{path}.local(...)` runs it right "
            "here",
        )

    def _bound(self) -> Binding:
        return self._handle._pool().method(self._index)

    @property
    def get_web_url(self) -> GetWebUrl:
        """Where the method answers to the web: `obj.method.get_web_url()`."""
        from volant.sdk.web.urls import GetWebUrl

        bound = self._handle._cls._function._bound
        return GetWebUrl(bound, self._method_name, self._handle._data)

    def with_options(self, **options: Unpack[VariantOptions]) -> BoundMethod:
        """The method of an equal object of the class with other options."""
        return self._of(self._handle._cls.with_options(**options))

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> BoundMethod:
        """The method of an equal object whose containers run several inputs at once."""
        return self._of(self._handle._cls.with_concurrency(
            max_inputs=max_inputs, target_inputs=target_inputs,
        ))  # fmt: skip

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> BoundMethod:
        """The method of an equal object with other batches."""
        changed = self._handle._cls.with_batching(max_batch_size=max_batch_size, wait_ms=wait_ms)
        return self._of(changed)

    def _of(self, cls: Cls) -> BoundMethod:
        return cls._handle(self._handle._data)._method(self._method_name)

    @property
    def object_id(self) -> str | None:
        """The id of its class while its app is run by this process, else None."""
        return self._handle._cls._function.object_id

    def local(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the plain method here, on an instance that is entered first."""
        instance = self._handle._instance()
        if instance.is_entered:
            return self._raw(instance.user, *args, **kwargs)
        if self.is_async and not self.is_generator:
            return self._entered_first(instance, args, kwargs)
        instance.enter(complete_here)
        return self._raw(instance.user, *args, **kwargs)

    async def _entered_first(
        self, instance: Instance, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        await instance.enter_async()
        return await self._raw(instance.user, *args, **kwargs)
