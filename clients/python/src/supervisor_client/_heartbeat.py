"""The heartbeat of one service."""

from __future__ import annotations

import functools
import inspect
from types import TracebackType
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Type, TypeVar, Union, cast, overload

from . import _messages, _values
from ._config import get_config, service_name
from ._courier import Courier, log
from ._http import TIMEOUT
from ._job import Job
from ._local import NotifySocket
from ._sender import SENDER

F = TypeVar("F", bound=Callable[..., Any])


def _quiet(method: F) -> F:
    """Keeps whatever goes wrong in here from the host."""

    @functools.wraps(method)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception:
            log.debug("%s failed", method.__name__, exc_info=True)
            return None

    return cast(F, quiet)


class Flag(int):
    """True or false, as a value or as a call: existing code reads ``is_active`` both ways."""

    def __call__(self) -> bool:
        return bool(self)

    def __repr__(self) -> str:
        return repr(bool(self))

    __str__ = __repr__


class Heartbeat:
    """Signs of life of one service, sent when the code says so.

    ``interval`` is the promise: a pulse at least this often, in seconds. ``tag`` names the
    service; without one it is the name under which the supervisor started this process, else
    the script's. A ``critical`` service counts in full for the overall status. An
    ``on_demand`` one pulses per request, and its silence is not lateness.

    Works by hand (``start``, ``pulse``, ``stop``), as a context manager, as an asynchronous one,
    and as a decorator, whose function pulses when it begins and when it ends. No method waits
    (but ``flush``) and none raises.
    """

    def __init__(
        self,
        interval: float = _values.DEFAULT_INTERVAL,
        tag: Optional[str] = None,
        critical: bool = True,
        on_demand: bool = False,
    ) -> None:
        config = get_config()
        #: The name under which the supervisor knows it: the tag, made legal.
        self.name = service_name(tag, config)
        #: The tag as it was given.
        self.tag: str = tag if isinstance(tag, str) and tag else self.name
        self.critical = _values.flag(critical, True)
        self.on_demand = _values.flag(on_demand, False)
        self._interval = _values.interval(interval)
        self._active = False
        self._courier = Courier(self.name, config, self._patience())
        # That of the supervisor, or of another service manager that runs us (systemd). A process
        # that another supervisor runs is not this service, and its socket not ours.
        self._notify = self._courier.notify
        if config.notify_socket and config.service is None:
            self._notify = NotifySocket(config.notify_socket)
        self._introduce()

    # === What hosts call ===

    @property
    def interval(self) -> Union[int, float]:
        """The promised interval in seconds."""
        return self._interval

    @interval.setter
    def interval(self, seconds: float) -> None:
        self._interval = _values.interval(seconds)
        self._courier.patience = self._patience()
        self._introduce()
        self._courier.unknown()

    @property
    def is_active(self) -> Flag:
        """Whether it was started and not stopped."""
        return Flag(self._active)

    @_quiet
    def start(self) -> None:
        """Begins: makes itself known where the supervisor does not run it, and pulses."""
        if self._active:
            return
        self._begin()
        self._beat({})

    @_quiet
    def pulse(
        self,
        message: Optional[object] = None,
        *,
        state: Optional[str] = None,
        cycle: Optional[int] = None,
        progress: Optional[float] = None,
        metrics: Optional[Mapping[str, float]] = None,
        busy_for: Optional[float] = None,
        **figures: object,
    ) -> None:
        """A sign of life, with whatever it has to say. Starts the heartbeat if need be.

        ``state`` is ``working``, ``idle`` (no pulse is promised until the next one that is not
        idle), ``exiting`` or ``stuck`` (restart me). ``cycle`` and ``progress`` are numbers that
        must move. ``busy_for`` says for how many seconds it will be silent. ``metrics``, and
        any other keyword, are figures of its own.
        """
        if not self._active:
            self._begin()
        silent = _values.finite(busy_for)
        said = {
            "message": None if message is None else _values.text(message),
            "state": state if isinstance(state, str) and state in _values.STATES else None,
            "cycle": _values.whole(cycle),
            "progress": _values.finite(progress),
            "busy_for": None if silent is None else min(max(silent, 0.0), _values.MOST_INTERVAL),
            "metrics": _values.metrics(metrics, figures) or None,
        }
        self._beat({key: value for key, value in said.items() if value is not None})

    @_quiet
    def error(self, message: object = "", critical: bool = False, **_: object) -> None:
        """Reports an error: a sign of life that says that something is wrong."""
        said = (
            _values.describe(message)
            if isinstance(message, BaseException)
            else _values.text(message)
        )
        self._foreign_pulse()
        SENDER.put(self._courier, _messages.error(self.name, said, _values.flag(critical, False)))

    @_quiet
    def stop(self) -> None:
        """Ends the promise to pulse: silence from now on is not lateness."""
        if not self._active:
            return
        self._active = False
        self._put(_messages.pulse(self.name, {"state": "idle", "message": "stopped"}))

    @_quiet
    def cleanup_old_data(self, days: int = 7) -> None:
        """Asks the supervisor to delete this service's history older than that many days.

        A service that the supervisor runs may do so with what is older than a day; any other
        needs the supervisor's token in SUPERVISOR_TOKEN.
        """
        whole = _values.whole(days)
        SENDER.put(self._courier, _messages.forget(self.name, 7 if whole is None else max(0, whole)))

    @overload
    def job(self, name: F) -> F: ...

    @overload
    def job(self, name: Optional[str] = None) -> Job: ...

    def job(self, name: Any = None) -> Any:
        """A run, for ``with`` and as a decorator: when it began, how long it took, how it ended.

        Its success is a pulse, its failure an error with the traceback.
        """
        return Job(self)(name) if callable(name) else Job(self, name)

    def flush(self, timeout: float = TIMEOUT) -> bool:
        """Waits until everything is sent; whether that was reached in time (seconds)."""
        return bool(SENDER.flush(self._courier, _values.finite(timeout) or 0.0))

    # === Context managers and decorator ===

    def __enter__(self) -> "Heartbeat":
        self.start()
        return self

    @_quiet
    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        failure: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if failure is None or _is_a_way_to_end(failure):
            self.stop()
        else:
            # Its promise stands: what ended like this is not to look well.
            self._active = False
            self.error(failure)

    async def __aenter__(self) -> "Heartbeat":
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
            async def around_async(*args: Any, **kwargs: Any) -> Any:
                self.pulse()
                try:
                    result = await function(*args, **kwargs)
                except Exception as failure:
                    self.error(failure)
                    raise
                self.pulse()
                return result

            return cast(F, around_async)

        @functools.wraps(function)
        def around(*args: Any, **kwargs: Any) -> Any:
            self.pulse()
            try:
                result = function(*args, **kwargs)
            except Exception as failure:
                self.error(failure)
                raise
            self.pulse()
            return result

        return cast(F, around)

    def __reduce__(self) -> Tuple[Any, ...]:
        # For a process that is spawned: it has a heartbeat of its own under the same name.
        return (type(self), (self._interval, self.tag, self.critical, self.on_demand))

    def __repr__(self) -> str:
        return f"Heartbeat(interval={self._interval!r}, tag={self.tag!r}, active={self._active})"

    # === What they come to ===

    @_quiet
    def _run_begins(self, rid: str) -> None:
        if not self._active:
            self._begin()
        SENDER.put(self._courier, _messages.run_start(self.name, rid))

    @_quiet
    def _run_ends(self, body: Dict[str, Any]) -> None:
        self._foreign_pulse()
        SENDER.put(self._courier, _messages.run_end(self.name, body))

    def _begin(self) -> None:
        self._active = True
        if self._notify is not None:
            self._notify.send("READY=1")

    def _beat(self, body: Dict[str, Any]) -> None:
        if self._notify is not None and self._courier.ours and not body:
            # Not past what still waits: a pulse that overtakes a farewell would be one too few.
            if SENDER.is_idle(self._courier) and self._notify.pulse():
                self._courier.last = None
                return
        self._foreign_pulse()
        self._put(_messages.pulse(self.name, body))

    def _put(self, message: _messages.Message) -> None:
        """A sign of life: what was said of its state before does not hold any more."""
        self._courier.last = message
        SENDER.put(self._courier, message)

    def _foreign_pulse(self) -> None:
        """The watchdog of who runs us, if that is no supervisor of ours (systemd)."""
        if self._notify is not None and not self._courier.ours:
            self._notify.pulse()

    def _introduce(self) -> None:
        if not self._courier.ours:
            self._courier.registration = _messages.register(
                self.name, self._interval, self.critical, self.on_demand
            )

    def _patience(self) -> float:
        return max(TIMEOUT, float(self._interval))


def _is_a_way_to_end(failure: BaseException) -> bool:
    """Whether that is how a host ends on purpose."""
    if isinstance(failure, SystemExit):
        return failure.code in (None, 0)
    return not isinstance(failure, Exception)
