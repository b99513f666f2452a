"""Functions that travel as a pickle instead of with their source: `serialized=True`."""

from __future__ import annotations

from volant.errors import InvalidError

#: Largest pickled function, and the size beyond which one warns.
BYTES_MAX = 16 << 20
WARN_BYTES = 256 << 10


def pickled(name: str, raw: object, module_name: str) -> bytes:
    """A function or class as bytes, with what it uses of its own module.

    Args:
        name: what its user calls it.
        raw: what is pickled.
        module_name: the module that defines it.

    Raises:
        SerializationError: for what refers to something that cannot be pickled.
        InvalidError: for what is too large.
    """
    try:
        data = _dumps_by_value(raw, module_name)
    except Exception as error:
        from volant.errors import SerializationError

        raise SerializationError(
            f"function `{name}` cannot be pickled: {error}",
            hint="what it refers to must be picklable; import and open things inside it",
        ) from error
    if len(data) > BYTES_MAX:
        raise InvalidError(
            f"function `{name}` is {len(data) >> 20} MiB when pickled, "
            f"at most {BYTES_MAX >> 20} MiB",
            hint="it captures large objects: pass them as arguments",
        )
    if len(data) > WARN_BYTES:
        import warnings

        warnings.warn(
            f"function `{name}` is {len(data) >> 10} KiB when pickled, and every "
            "container unpickles it: pass what it captures as arguments",
            stacklevel=3,
        )
    return data


def _dumps_by_value(raw: object, module_name: str) -> bytes:
    """Pickle a function with what it uses of its own module, which is not sent beside it."""
    import sys

    import cloudpickle

    from volant.sdk.sources import is_local

    module = sys.modules.get(module_name)
    path = getattr(module, "__file__", None)
    asked_for = cloudpickle.list_registry_pickle_by_value()
    if module is None or path is None or not is_local(path) or module.__name__ in asked_for:
        data: bytes = cloudpickle.dumps(raw, 5)
        return data
    cloudpickle.register_pickle_by_value(module)
    try:
        data = cloudpickle.dumps(raw, 5)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    return data
