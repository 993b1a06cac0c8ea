"""The one daemon thread of a process that sends what may have to wait.

Its queue is bounded: what waits longer than a pulse is worth is dropped, and when it is full
the oldest goes first. What could not be told and is worth it is told later. After a fork the
child starts with an empty queue and a thread of its own. At exit what waits is given two
seconds, all together.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections import deque
from typing import Deque, Optional, Tuple

from . import _http
from ._courier import Courier
from ._messages import Message

#: How many messages may wait.
LIMIT = 1000
#: How many that could not be told may wait to be told later.
LATER = 100

#: The pause (seconds) before what could not be told is tried again, at first and at most.
_PAUSE_MIN, _PAUSE_MAX = 0.5, 15.0

_Letter = Tuple[Courier, Message]


class Sender:
    """Sends messages in order, one at a time. Nothing here waits but flush, or raises."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begins anew, without locks that others may hold and without what they have put."""
        self.dropped = 0
        self._waiting: Deque[_Letter] = deque()
        self._later: Deque[_Letter] = deque()
        self._pause = _PAUSE_MIN
        self._again = 0.0
        self._sending: Optional[Courier] = None
        self._thread: Optional[threading.Thread] = None
        # Reentrant: a signal's handler or a destructor may pulse amid a pulse.
        self._changed = threading.Condition(threading.RLock())

    def put(self, courier: Courier, message: Message) -> None:
        """Queues a message."""
        with self._changed:
            newest = courier.newest
            if newest is not None and newest.plain and message.plain:
                # Told late, the younger one says all that the older one would have said.
                newest.born = message.born
                return
            if len(self._waiting) >= LIMIT:
                self._lost(*self._waiting.popleft())
            self._waiting.append((courier, message))
            courier.waiting += 1
            courier.newest = message
            self._work()
            self._changed.notify_all()

    def is_idle(self, courier: Courier) -> bool:
        """Whether everything of that courier's has been dealt with."""
        return not courier.waiting and self._sending is not courier

    def flush(self, courier: Optional[Courier], timeout: float) -> bool:
        """Waits until nothing of that courier's waits any more, or of any; whether that was
        reached in time (seconds)."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._done(courier):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if self._sending is None and not self._work():
                    # The interpreter goes down and starts no threads: here and now, then.
                    self._send_next()
                else:
                    self._changed.wait(left)
        return True

    def finish(self, timeout: float) -> None:
        """The last flush: what was to be told later is told now or never."""
        with self._changed:
            for courier, message in self._later:
                self._waiting.append((courier, message))
                courier.waiting += 1
            self._later.clear()
        self.flush(None, timeout)

    def _done(self, courier: Optional[Courier]) -> bool:
        if courier is None:
            return not self._waiting and self._sending is None
        return self.is_idle(courier)

    def _work(self) -> bool:
        """Sees to it that the thread is at work; whether it is."""
        if self._thread is not None and self._thread.is_alive():
            return True
        thread = threading.Thread(target=self._run, name="supervisor-client", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:
            self._thread = None
            return False
        _flush_at_exit_of_a_worker()
        return True

    def _run(self) -> None:
        with self._changed:
            while self._thread is threading.current_thread():
                if self._waiting or self._later and self._again <= time.monotonic():
                    self._send_next()
                elif self._later:
                    self._changed.wait(max(0.0, self._again - time.monotonic()))
                else:
                    self._changed.wait()

    def _send_next(self) -> None:
        """Sends the next that waits, without the lock."""
        late = not self._waiting
        queue = self._later if late else self._waiting
        if not queue:
            return
        courier, message = queue.popleft()
        if not late:
            self._taken(courier, message)
        self._sending = courier
        self._changed.release()
        told = True
        try:
            told = courier.deliver(message)
        except Exception:
            # Nothing may ever reach the host.
            courier.say_broken()
        finally:
            self._changed.acquire()
            self._sending = None
            if told:
                self._pause = _PAUSE_MIN
            elif message.keep:
                self._postpone(courier, message, late)
            else:
                self.dropped += 1
            self._changed.notify_all()

    def _taken(self, courier: Courier, message: Message) -> None:
        courier.waiting -= 1
        if courier.newest is message:
            courier.newest = None

    def _lost(self, courier: Courier, message: Message) -> None:
        self._taken(courier, message)
        self.dropped += 1

    def _postpone(self, courier: Courier, message: Message, late: bool) -> None:
        if late:
            self._later.appendleft((courier, message))
        else:
            self._later.append((courier, message))
        while len(self._later) > LATER:
            self._later.popleft()
            self.dropped += 1
        self._again = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _PAUSE_MAX)


#: The sender of this process: a thread for each heartbeat would be one too many for hosts that
#: make a heartbeat for every piece of work.
SENDER = Sender()


def _flush_at_exit() -> None:
    try:
        SENDER.finish(_http.TIMEOUT)
    except Exception:
        pass


class _Worker:
    """A process of ``multiprocessing`` ends without the usual exit: it has one of its own."""

    pid: Optional[int] = None


def _flush_at_exit_of_a_worker() -> None:
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _Worker.pid != os.getpid():
        _Worker.pid = os.getpid()
        util.Finalize(None, _flush_at_exit, exitpriority=0)


def _after_fork() -> None:
    # Locks may be held by threads that do not exist here; what waits, and the connections, are
    # the parent's.
    for courier, _ in (*SENDER._waiting, *SENDER._later):
        courier.waiting, courier.newest = 0, None
    SENDER.forget()
    _http.forget()


atexit.register(_flush_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
