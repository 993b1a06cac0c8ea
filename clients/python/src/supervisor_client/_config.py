"""Where the supervisor is, read from the environment that it gives to its services."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

from . import _values

#: Where a supervisor listens if nobody says otherwise.
DEFAULT_URL = "http://127.0.0.1:5001"


@dataclass(frozen=True)
class Config(Mapping[str, Any]):
    """How this process reaches its supervisor: as attributes, or as a mapping of them.

    The token is an attribute alone, so that nobody prints or logs it by the way.
    """

    #: Its base address, without a slash at the end; none where it is reached otherwise only.
    url: Optional[str]
    #: The path of its Unix socket, which is used where there is no address.
    socket: Optional[str]
    #: The name under which the supervisor started this process.
    service: Optional[str]
    #: The socket for sd_notify datagrams.
    notify_socket: Optional[str]
    #: A file to write where neither socket nor address answers.
    heartbeat_file: Optional[Path]
    #: How often a heartbeat promises to pulse that says nothing else, in seconds.
    interval: float = _values.DEFAULT_INTERVAL
    #: The token for what needs one.
    token: Optional[str] = field(default=None, repr=False)

    def __getitem__(self, key: str) -> Any:
        if key in self:
            return getattr(self, key)
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return (one.name for one in fields(self) if one.repr)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return any(key == known for known in self)


def get_config() -> Config:
    """The configuration that the environment holds now."""
    file = _variable("SUPERVISOR_HEARTBEAT_FILE")
    service = _variable("SUPERVISOR_SERVICE")
    socket = _variable("SUPERVISOR_SOCKET")
    url = _variable("SUPERVISOR_URL")
    if url is None and socket is None and service is None:
        # One that started us and gives no address listens nowhere: another's is not his.
        url = DEFAULT_URL
    return Config(
        url=url.rstrip("/") if url else None,
        socket=socket,
        token=_variable("SUPERVISOR_TOKEN"),
        service=service,
        notify_socket=_variable("NOTIFY_SOCKET"),
        heartbeat_file=Path(file) if file else None,
    )


def service_name(tag: object, config: Config) -> str:
    """A tag as a legal name; without one, what the supervisor calls us, or the script's."""
    if tag is None or isinstance(tag, str) and not tag.strip():
        tag = config.service or Path(sys.argv[0] if sys.argv else "").stem
    return _values.name(tag)


def _variable(name: str) -> Optional[str]:
    return os.environ.get(name, "").strip() or None
