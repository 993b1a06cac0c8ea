"""One HTTP exchange with a deadline for all of it.

The standard library's client has a timeout for each piece instead: a supervisor that answers
byte by byte would hold it up for minutes.
"""

from __future__ import annotations

import socket
import time
from typing import Dict, Optional, Tuple
from urllib.parse import urlsplit

from ._messages import Message

#: No exchange takes longer than this many seconds.
TIMEOUT = 2.0

#: A kept connection that was idle for so long (seconds) may be closed on the other side.
_KEPT = 3.0
#: Nobody answers a pulse with more.
_MOST_HEAD = 64 * 1024


#: One that did not answer in time is left alone for so long (seconds).
_HUNG = 1.0
#: How many addresses are kept.
_MOST_SHARED = 16


class BadAddress(ValueError):
    """The address is none that can be called."""


class Http:
    """A supervisor's API. For one thread at a time."""

    def __init__(self, url: Optional[str], path: Optional[str], token: Optional[str]) -> None:
        """Takes an address, or the path of a Unix socket.

        Raises BadAddress where it cannot be called.
        """
        self._unix = path if not url else None
        self._tls = False
        self._host, self._port, prefix, named = "localhost", 80, "", "localhost"
        if url:
            try:
                parts = urlsplit(url if "//" in url else f"http://{url}")
                self._tls = {"http": False, "https": True}[parts.scheme.lower()]
                self._host = parts.hostname or ""
                self._port = parts.port or (443 if self._tls else 80)
                prefix, named = parts.path.rstrip("/"), parts.netloc.rpartition("@")[2]
            except (KeyError, ValueError):
                raise BadAddress(url) from None
        if not self._host or not (prefix + named).isprintable() or " " in prefix + named:
            raise BadAddress(url)
        self._prefix = prefix
        self._headers = f"Host: {named}\r\n"
        if token and token.isascii() and token.isprintable():
            self._headers += f"Authorization: Bearer {token}\r\n"
        self._kept: Optional[socket.socket] = None
        self._used = 0.0
        self._hung_until = 0.0

    @classmethod
    def shared(cls, url: Optional[str], path: Optional[str], token: Optional[str]) -> "Http":
        """The one of this process: its heartbeats share a connection."""
        key = (url, path, token)
        found = _shared.get(key)
        if found is None:
            if len(_shared) >= _MOST_SHARED:
                # Nobody speaks to so many; whoever still uses one keeps it.
                _shared.clear()
            found = _shared[key] = cls(url, path, token)
        return found

    def exchange(self, message: Message) -> int:
        """Sends it and gives the answer's status.

        Raises OSError where there is none in time.
        """
        if time.monotonic() < self._hung_until:
            raise TimeoutError("it did not answer a moment ago")
        deadline = time.monotonic() + TIMEOUT
        try:
            return self._exchange(self._request(message), deadline)
        except OSError:
            if time.monotonic() >= deadline:
                # Others wait: they need not find out for themselves, one after the other.
                self._hung_until = time.monotonic() + _HUNG
            raise

    def _exchange(self, request: bytes, deadline: float) -> int:
        if self._kept is not None and time.monotonic() - self._used > _KEPT:
            self.close()
        if self._kept is not None:
            try:
                return self._once(self._kept, request, deadline)
            except TimeoutError:
                self.close()
                raise
            except OSError:
                # It was closed on the other side meanwhile: once more on a new one.
                self.close()
        connection = self._connect(deadline)
        try:
            return self._once(connection, request, deadline)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Lets the kept connection go."""
        kept, self._kept = self._kept, None
        if kept is not None:
            try:
                kept.close()
            except OSError:
                pass

    def _request(self, message: Message) -> bytes:
        body = message.content()
        head = f"{message.method} {self._prefix}{message.path} HTTP/1.1\r\n{self._headers}"
        if body:
            head += "Content-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def _once(self, connection: socket.socket, request: bytes, deadline: float) -> int:
        _limit(connection, deadline)
        connection.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            head += _receive(connection, deadline)
            if len(head) > _MOST_HEAD:
                raise OSError("the answer has no end")
        head, _, rest = head.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        version, _, status = lines[0].partition(" ")
        if not version.startswith("HTTP/1.") or not status[:3].isdigit():
            raise OSError("the answer is not HTTP")
        pairs = (line.partition(":") for line in lines[1:])
        fields = {key.strip().lower(): value.strip() for key, _, value in pairs}
        if status.startswith("204"):
            fields.setdefault("content-length", "0")
        self._keep(connection, fields, rest, deadline)
        return int(status[:3])

    def _keep(
        self, connection: socket.socket, fields: Dict[str, str], rest: bytes, deadline: float
    ) -> None:
        """Reads the answer to its end, so that the connection can be used again; else closes."""
        length = fields.get("content-length", "")
        closes = fields.get("connection", "").lower() == "close"
        usable = length.isdigit() and int(length) <= _MOST_HEAD and not closes
        try:
            missing = int(length) - len(rest) if usable else 0
            while missing > 0:
                missing -= len(_receive(connection, deadline))
        except OSError:
            # The status has come: that is the answer.
            usable = False
        if usable:
            self._kept, self._used = connection, time.monotonic()
        else:
            self._kept = None
            connection.close()

    def _connect(self, deadline: float) -> socket.socket:
        if self._unix is not None:
            return _open(socket.AF_UNIX, self._unix, deadline)
        failure: OSError = OSError("no address")
        for family, _, _, _, address in socket.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM
        ):
            try:
                connection = _open(family, address, deadline)
                break
            except OSError as why:
                failure = why
        else:
            raise failure
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._tls:
            return connection
        try:
            # Only for those who need it: it costs megabytes.
            import ssl

            _limit(connection, deadline)
            context = ssl.create_default_context()
            return context.wrap_socket(connection, server_hostname=self._host)
        except BaseException:
            connection.close()
            raise


def _open(family: int, address: object, deadline: float) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        _limit(connection, deadline)
        connection.connect(address)  # type: ignore[arg-type]
        return connection
    except BaseException:
        connection.close()
        raise


def _limit(connection: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    connection.settimeout(left)


def _receive(connection: socket.socket, deadline: float) -> bytes:
    _limit(connection, deadline)
    piece = connection.recv(8192)
    if not piece:
        raise ConnectionResetError("closed without an answer")
    return piece


_shared: Dict[Tuple[Optional[str], Optional[str], Optional[str]], Http] = {}


def forget() -> None:
    """This process is another now: connections are its parent's."""
    for http in _shared.values():
        http.close()
