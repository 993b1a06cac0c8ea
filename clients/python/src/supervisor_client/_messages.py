"""What is said to a supervisor: a call of its API, and what it is worth if it comes late."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, Dict, Optional


@dataclass
class Message:
    """One thing to say."""

    method: str
    path: str
    body: Dict[str, Any] = field(default_factory=dict)
    #: A sign of life: one that is told much later would be a lie.
    lives: bool = False
    #: Told later where it cannot be told now.
    keep: bool = False
    #: It holds until the next sign of life, and is worth nothing after that.
    standing: bool = False
    #: What is said beside the sign of life, for ways that carry nothing but text.
    text: str = ""
    #: When it was said (seconds, monotonic).
    born: float = field(default_factory=time.monotonic)

    @property
    def plain(self) -> bool:
        """A sign of life and nothing more: the next one says as much."""
        return self.lives and not self.body and not self.keep

    def content(self) -> bytes:
        """The body as it is sent."""
        return json.dumps(self.body, allow_nan=False).encode() if self.body else b""


def pulse(name: str, body: Optional[Dict[str, Any]] = None) -> Message:
    """A sign of life."""
    said = body or {}
    text = str(said.get("message", ""))
    # What it says of its state goes on holding, so it is told later where it cannot be told now.
    standing = said.get("state") in ("idle", "exiting", "stuck")
    return Message(
        "POST", f"/api/pulse/{name}", said, lives=True, keep=standing, standing=standing, text=text
    )


def error(name: str, message: str, critical: bool) -> Message:
    """A reported error: a sign of life, too, and worth being told later."""
    body = {"message": message, "critical": critical}
    return Message("POST", f"/api/error/{name}", body, lives=True, keep=True, text=message)


def register(
    name: str, interval: float, critical: bool, on_demand: bool
) -> Message:
    """Makes itself known to a supervisor that did not start it."""
    body: Dict[str, Any] = {"tag": name, "interval": interval, "critical": critical}
    if on_demand:
        body["on_demand"] = True
    return Message("POST", "/api/register", body)


def run_start(name: str, rid: str) -> Message:
    """A run begins: no sign of life, for what begins may hang."""
    return Message("POST", f"/api/run/{name}", {"state": "start", "rid": rid})


def run_end(name: str, body: Dict[str, Any]) -> Message:
    """A run has ended: worth being told later, its duration is in it."""
    text = str(body.get("message", ""))
    return Message("POST", f"/api/run/{name}", body, lives=True, keep=True, text=text)


def forget(name: str, days: int) -> Message:
    """Asks for a service's older history to be deleted."""
    return Message("DELETE", f"/api/history/{name}?older_than={days}d", keep=True)
