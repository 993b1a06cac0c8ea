"""A run: a piece of work with a beginning, an end, and a way in which it ended."""

from __future__ import annotations

import functools
import inspect
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Optional, Type, TypeVar, cast

from . import _values

if TYPE_CHECKING:
    from ._heartbeat import Heartbeat

F = TypeVar("F", bound=Callable[..., Any])


class Job:
    """One run after the other of a piece of work::

        with heartbeat.job("nightly"):
            work()

        @heartbeat.job()
        def work(): ...
    """

    def __init__(self, heartbeat: "Heartbeat", name: Optional[str] = None) -> None:
        self._heartbeat = heartbeat
        self._name = _values.text("" if name is None else name, 100) or "run"
        self._began = 0.0

    def __enter__(self) -> "Job":
        self._began = time.monotonic()
        self._heartbeat.pulse(f"{self._name} began")
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        failure: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        took = time.monotonic() - self._began
        if failure is None or isinstance(failure, SystemExit) and failure.code in (None, 0):
            self._heartbeat.pulse(f"{self._name} done in {took:.1f} s", run_seconds=took)
        else:
            why = _values.describe(failure)
            self._heartbeat.error(f"{self._name} failed after {took:.1f} s: {why}")

    async def __aenter__(self) -> "Job":
        return self.__enter__()

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        failure: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.__exit__(kind, failure, trace)

    def __call__(self, function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                # Each call is a run of its own; several may be under way.
                with Job(self._heartbeat, self._name):
                    return await function(*args, **kwargs)

            return cast(F, run_async)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with Job(self._heartbeat, self._name):
                return function(*args, **kwargs)

        return cast(F, run)
