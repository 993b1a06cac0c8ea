"""The ways to a supervisor that need no connection: its notify socket, and a file."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from array import array
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict

from . import _values

#: A status that is longer is of no use on a status line.
_MOST_STATUS = 2_000


class NotifySocket:
    """sd_notify: a datagram that never waits."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        #: Something was sent of which nobody has said yet that it is heard.
        self._unheard = False

    def pulse(self, text: str = "", busy_for: float = 0.0, stuck: bool = False) -> bool:
        """A sign of life, and of what else it says all that this protocol has words for;
        whether it was taken."""
        words = ["WATCHDOG=trigger" if stuck else "WATCHDOG=1"]
        if busy_for > 0:
            words.append(f"EXTEND_TIMEOUT_USEC={int(busy_for * 1e6)}")
        status = _values.text(text, _MOST_STATUS).replace("\n", " ")
        if status:
            words.append(f"STATUS={status}")
        return self.send("\n".join(words))

    def send(self, words: str) -> bool:
        """Any words of that protocol; whether they were taken."""
        self._unheard = True
        try:
            # A socket for each: one that is kept would be shared with whoever we fork.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(words.encode(), self._address)
        except (AttributeError, OSError, ValueError):
            return False
        return True

    def settle(self, timeout: float) -> None:
        """Waits until all that was sent is heard, for so long (seconds) at most: what goes
        another way from here on would overtake it."""
        if not self._unheard:
            return
        self._unheard = False
        try:
            mine, theirs = os.pipe()
            try:
                try:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [theirs]))]
                    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                        # Where too much waits to be read there is no room for one more yet.
                        sender.settimeout(timeout)
                        sender.sendmsg([b"BARRIER=1"], rights, 0, self._address)
                finally:
                    os.close(theirs)
                heard = select.poll()
                heard.register(mine, 0)
                heard.poll(timeout * 1000)
            finally:
                os.close(mine)
        except (AttributeError, OSError, ValueError):
            # Nobody is there, or this system has no such thing: then nothing waits, either.
            pass


class HeartbeatFile:
    """``heartbeat.json`` in the Deacon's form, replaced in one step: no reader meets half."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pulse(self, text: str = "") -> bool:
        """A sign of life; whether it was written."""
        now = datetime.now(timezone.utc)
        fraction = f"{now.microsecond:06}".rstrip("0")
        document: Dict[str, Any] = {
            "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}Z" if fraction else "Z"),
            "cycle": self._cycle() + 1,
        }
        if text:
            document["last_action"] = _values.text(text, _MOST_STATUS)
        document.update(healthy_agents=0, unhealthy_agents=0)
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}-{threading.get_ident()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(beside, flags, 0o666), "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2)
            os.replace(beside, self._path)
        except (OSError, ValueError):
            try:
                os.unlink(beside)
            except (OSError, ValueError):
                pass
            return False
        return True

    def _cycle(self) -> int:
        """Where the one before it stood."""
        try:
            with open(self._path, encoding="utf-8") as file:
                cycle = json.loads(file.read(64 * 1024))["cycle"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return 0
        return cycle if isinstance(cycle, int) and 0 <= cycle < 2**63 - 1 else 0

