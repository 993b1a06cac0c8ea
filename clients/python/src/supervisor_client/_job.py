"""A run: a piece of work with a beginning, an end, and a way in which it ended."""

from __future__ import annotations

import functools
import inspect
import os
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Type, TypeVar, cast

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
        self._name = _values.text("" if name is None else name, 100)
        self._began = 0.0
        self._rid = ""

    def __enter__(self) -> "Job":
        self._began = time.monotonic()
        # Enough to tell runs of one service apart; no uuid is asked for.
        self._rid = os.urandom(16).hex()
        self._heartbeat._run_begins(self._rid)
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        failure: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        body: Dict[str, Any] = {
            "state": "success" if failure is None else "failure",
            "rid": self._rid,
            "duration": time.monotonic() - self._began,
        }
        said = [self._name]
        if isinstance(failure, SystemExit):
            # As the interpreter would exit: None is 0, and what is no number is said and 1.
            code = failure.code
            exit_code = 0 if code is None else code if isinstance(code, int) else 1
            body["state"] = "failure" if exit_code else "success"
            body["exit_code"] = max(-(2**31), min(exit_code, 2**31 - 1))
            said.append(_values.text(code) if isinstance(code, str) else "")
        elif failure is not None:
            said.append(_values.describe(failure))
            body["output"] = _traceback(failure)
        body["message"] = ": ".join(filter(None, said))
        self._heartbeat._run_ends({key: value for key, value in body.items() if value != ""})

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


def _traceback(failure: BaseException) -> str:
    """Where it failed: the end of it, which says most."""
    try:
        lines = traceback.format_exception(type(failure), failure, failure.__traceback__)
    except Exception:
        return ""
    whole = "".join(lines).encode("utf-8", "replace")
    return whole[-_values.MOST_TEXT :].decode("utf-8", "ignore")
