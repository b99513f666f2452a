"""Runs inputs that the user's code takes together: lists of arguments in, a list of results out.

    hub --INPUT more--INPUT more--INPUT--> one call of the function --OUTCOME for each input--> hub

Each input is a batch of its own, because each has its caller. Whatever goes wrong goes to all of
them, for nobody can tell whose fault it was.
"""

from __future__ import annotations

import inspect
from time import perf_counter_ns

from volant import _context
from volant.errors import InputCancellation, InvalidError
from volant.runner.inputs.outbox import Outbox
from volant.wire.payloads import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volant.runner.execute import Execute
    from volant.runner.loop import Batch, Runner


class Group:
    """Batches whose inputs the user's code takes together."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def batches(self) -> list[Batch]:
        """All of them, in order."""
        return self._batches

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for any of them."""
        return all(batch.cancelled for batch in self._batches)


class Grouped:
    """Runs one function or method in groups."""

    def __init__(self, raw: Callable[..., Any], execute: Execute, runner: Runner) -> None:
        """Serve a function.

        Args:
            raw: what takes lists.
            execute: how it is called, plain or on an event loop, and how its results are sent.
            runner: the container.
        """
        self._name = getattr(raw, "__name__", "a function")
        self._signature = inspect.signature(raw)
        self._execute = execute
        self._runner = runner

    @staticmethod
    def group(batches: list[Batch]) -> Group:
        """What to run together."""
        return Group(batches)

    def run(self, group: Group) -> None:
        """Run a group, and send every input its outcome."""
        runner, batches = self._runner, group.batches()
        outs = [Outbox(runner, batch) for batch in batches]
        begun_ns = perf_counter_ns()
        try:
            if group.cancelled:
                raise InputCancellation("the call was cancelled")
            results = self._results(group, outs)
        except BaseException as exc:  # noqa: BLE001  # user code may raise anything
            runner.in_user_code = False
            runner.tell_late()
            for batch, out in zip(batches, outs, strict=True):
                batch.close()
                out.exec_ns = (perf_counter_ns() - begun_ns) // len(outs)
                out.add_fault(exc)
                out.settle(last=True)
            return
        runner.tell_late()
        for out, result in zip(outs, results, strict=True):
            out.exec_ns = (perf_counter_ns() - begun_ns) // len(outs)
            self._execute._finish(result, out)
            out.settle(last=True)

    def _results(self, group: Group, outs: list[Outbox]) -> list[Any]:
        batches = group.batches()
        lists = self._lists([loads(*batch.items[0], batch.take_fd()) for batch in batches])
        _context.current_input.set((batches[0].call_id, batches[0].first))
        self._runner.in_user_code = True
        if self._runner.is_woken:
            self._runner.listen()
        results = self._execute._call((), lists, outs[0])
        self._runner.in_user_code = False
        _context.current_input.set(None)
        if not isinstance(results, list) or len(results) != len(batches):
            what = f"a list of {len(results)}" if isinstance(results, list) else repr(type(results))
            raise InvalidError(
                f"`{self._name}` was called with {len(batches)} inputs and returned {what}",
                hint="a batched function returns a list, with one result for each input, in order",
            )
        return results

    def _lists(self, calls: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> dict[str, list[Any]]:
        """For each parameter the values of all inputs, however each of them was given."""
        lists: dict[str, list[Any]] = {name: [] for name in self._signature.parameters}
        for args, kwargs in calls:
            try:
                bound = self._signature.bind(*args, **kwargs).arguments
            except TypeError as error:
                raise InvalidError(
                    f"an input of a batch does not fit `{self._name}`: {error}",
                    hint=f"its parameters are {self._signature}",
                ) from None
            for name, value in bound.items():
                lists[name].append(value)
        return lists
