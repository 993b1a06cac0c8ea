"""Takes what one heartbeat says to whoever can be reached: by HTTP, its socket, or a file.

Plain pulses of a process that a supervisor runs do not come here: they go through its notify
socket at once, see the heartbeat itself.
"""

from __future__ import annotations

import logging
import time
from typing import Optional

from ._config import Config
from ._http import BadAddress, Http
from ._local import HeartbeatFile, NotifySocket
from ._messages import Message

log = logging.getLogger("supervisor_client")
log.addHandler(logging.NullHandler())

#: How long (seconds) a registration that was refused is not tried again.
_REFUSED_FOR = 60.0
#: How long (seconds) we wait for the notify socket to be read before we go another way.
_SETTLED = 1.0
#: Taken as a sign of life though it could not be recorded, and taken but for a figure.
_TAKEN_ALL_THE_SAME = (422, 507)
#: It may work a little later.
_LATER = (408, 429)


class Courier:
    """Delivers. Called by one thread at a time."""

    def __init__(self, name: str, config: Config, patience: float) -> None:
        #: The supervisor runs this very service: it is known, and its token is for it.
        self.ours = config.service == name
        #: How long (seconds) a sign of life is worth being told.
        self.patience = patience
        #: How many messages wait, and the newest of them: the sender's to keep.
        self.waiting = 0
        self.newest: Optional[Message] = None
        #: What to say where the supervisor does not know the service; nothing for its own.
        self.registration: Optional[Message] = None
        self._name = name
        self._known = self.ours
        self._refused_until = 0.0
        # A token of another service's is good for nothing here, not even for a guest.
        token = config.token if self.ours or config.service is None else None
        self._http = _http(config, token)
        notify = config.notify_socket if self.ours else None
        #: Its notify socket, if it is the supervisor's own.
        self.notify = NotifySocket(notify) if notify else None
        #: The last sign of life that was given, if it did not go by that socket at once.
        self.last: Optional[Message] = None
        self._file = HeartbeatFile(config.heartbeat_file) if config.heartbeat_file else None
        self._reached = True

    def deliver(self, message: Message) -> bool:
        """Whether it has been told, or is not worth it any more."""
        if message.standing and self.last is not message:
            # Something else holds by now.
            return True
        fresh = time.monotonic() - message.born <= self.patience
        if message.lives and not fresh and not message.keep:
            return False
        if self._by_http(message):
            return True
        if not message.lives or not fresh:
            return False
        notified = self.notify is not None and self.notify.pulse(
            message.text,
            float(message.body.get("busy_for", 0.0)),
            message.body.get("state") == "stuck",
        )
        written = not notified and self._file is not None and self._file.pulse(message.text)
        if notified or written:
            # That it lives has been told, once; an error has still to be.
            message.lives = False
        return not message.lives and not message.keep

    def unknown(self) -> None:
        """What was registered does not hold any more."""
        self._known = self.ours
        self._refused_until = 0.0

    def say_broken(self) -> None:
        """Something went wrong here that nobody has thought of."""
        log.debug("%s could not tell", self._name, exc_info=True)

    def _by_http(self, message: Message) -> bool:
        if self._http is None:
            return False
        try:
            if not self._known:
                self._register(self._http)
            if self.notify is not None:
                self.notify.settle(_SETTLED)
            status = self._http.exchange(message)
            if status == 404 and self._forgotten():
                self._register(self._http)
                status = self._http.exchange(message)
        except OSError as why:
            self._say_reached(False, why)
            return False
        if status >= 500 and status not in _TAKEN_ALL_THE_SAME or status in _LATER:
            self._say_reached(False, f"it answers {status}")
            return False
        self._say_reached(True, "")
        if status >= 400 and status not in _TAKEN_ALL_THE_SAME:
            log.debug("%s %s is refused with %s", message.method, message.path, status)
        return True

    def _register(self, http: Http) -> None:
        if self.registration is None or time.monotonic() < self._refused_until:
            return
        status = http.exchange(self.registration)
        # 409: the configuration knows it; then that holds.
        self._known = status < 300 or status in (409, 507)
        if not self._known:
            self._refused_until = time.monotonic() + _REFUSED_FOR
            log.info("%s cannot be registered: the supervisor answers %s", self._name, status)

    def _forgotten(self) -> bool:
        """Whether a supervisor that does not know us once did, or may get to."""
        if self.registration is None or self.ours:
            return False
        known, self._known = self._known, False
        return known

    def _say_reached(self, reached: bool, why: object) -> None:
        if reached != self._reached:
            self._reached = reached
            if reached:
                log.info("the supervisor is there again")
            else:
                log.info("the supervisor cannot be reached: %s", why)


def _http(config: Config, token: Optional[str]) -> Optional[Http]:
    if config.url is None and config.socket is None:
        return None
    try:
        return Http.shared(config.url, config.socket, token)
    except BadAddress:
        log.warning("SUPERVISOR_URL is no address: %r", config.url)
        return None
