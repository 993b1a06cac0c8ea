"""A world for each test: a directory, the real supervisor, and servers that misbehave.

The program is the one that SUPERVISOR_PROGRAM names (``tests/run`` and ``cargo nextest`` say
which), else the one that cargo built last.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from supervisor_client import _sender
from supervisor_client._sender import SENDER

ROOT = Path(__file__).resolve().parents[3]
SOURCE = Path(__file__).resolve().parents[1] / "src"
PROGRAM = Path(os.environ.get("SUPERVISOR_PROGRAM") or ROOT / "target/debug/supervisor")

#: Far more than anything here needs (seconds): its only use is to end a test that would hang.
PATIENCE = 60.0
#: What is forgiven to a machine that is busy with other tests (seconds). What would really wait
#: for each of many waits for much longer.
BUSY = 8.0

OURS = ("SUPERVISOR_URL", "SUPERVISOR_TOKEN", "SUPERVISOR_SERVICE", "SUPERVISOR_SOCKET",
        "SUPERVISOR_HEARTBEAT_FILE", "NOTIFY_SOCKET")


def wait_until(what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Asks until the condition gives something, and gives it."""
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def no_supervisor_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment of the test run says is not about its subject."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    # Nobody listens there: a test that needs a supervisor names it.
    monkeypatch.setenv("SUPERVISOR_URL", f"http://127.0.0.1:{free_port()}")


@pytest.fixture(autouse=True)
def a_sender_that_knows_nothing_of_other_tests() -> None:
    with SENDER._changed:
        SENDER._waiting.clear()
        SENDER._later.clear()
        SENDER._pause = _sender._PAUSE_MIN
        SENDER.dropped = 0
    assert SENDER.flush(None, PATIENCE)


class World:
    """A running supervisor with all that belongs to it."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.port = free_port()
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.others: List[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.dir / "data" / "token").read_text().strip()

    def start(self, config: str = "", *, keys: str = "") -> "World":
        """Starts it with these services, and these keys of its own."""
        (self.dir / "supervisor.toml").write_text(
            f'[supervisor]\nlisten = "127.0.0.1:{self.port}"\ndata_dir = "data"\n{keys}\n{config}'
        )
        return self.again()

    def again(self) -> "World":
        """Starts it as it is configured."""
        environment = {key: value for key, value in os.environ.items() if key not in OURS}
        with open(self.dir / "supervisor.out", "ab") as output:
            self.process = subprocess.Popen(
                [PROGRAM, "--config", self.dir / "supervisor.toml"],
                cwd=self.dir, env=environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output,
            )
        wait_until("the supervisor is ready", self._ready)
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output()
        try:
            return self.call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def end(self, how: int = signal.SIGTERM) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(how)
            process.wait(PATIENCE)

    def close(self) -> None:
        for other in self.others:
            other.kill()
            other.wait(PATIENCE)
        self.end()

    def output(self) -> str:
        return (self.dir / "supervisor.out").read_text(errors="replace")

    def call(self, method: str, path: str, body: Optional[Dict[str, Any]] = None,
             **headers: str) -> Tuple[int, Any]:
        """A call of the API: status, and what it answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                status, text = refusal.code, refusal.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def service(self, name: str) -> Dict[str, Any]:
        status, service = self.call("GET", f"/api/services/{name}")
        return service if status == 200 else {}

    def events(self, name: str) -> List[Dict[str, Any]]:
        _, answer = self.call("GET", f"/api/events?since=0&limit=1000&service={name}")
        events: List[Dict[str, Any]] = answer["events"]
        return events

    def wait_for(self, name: str, what: str, condition: Callable[[Dict[str, Any]], Any]) -> Any:
        """Waits until a service is like that, and gives it."""
        seen: Dict[str, Any] = {}

        def look() -> Any:
            seen.clear()
            seen.update(self.service(name))
            return seen if seen and condition(seen) else None

        try:
            return dict(wait_until(f"{name} {what}", look))
        except AssertionError:
            raise AssertionError(f"{name} never {what}: {seen}\n{self.output()}") from None

    def wait_healthy(self, name: str) -> Dict[str, Any]:
        found: Dict[str, Any] = self.wait_for(
            name, "is healthy", lambda it: it["status"] == "healthy" and it["total_pulses"]
        )
        return found

    def script(self, text: str, name: str = "service.py") -> Path:
        """A program that uses the client."""
        path = self.dir / name
        path.write_text(f"import sys\nsys.path.insert(0, {str(SOURCE)!r})\n{text}")
        return path

    def run(self, script: Path, *, wait: bool = True, **environment: str) -> "subprocess.Popen[bytes]":
        """Runs such a program, which the supervisor does not run."""
        process = subprocess.Popen(
            [sys.executable, script], cwd=self.dir, stdin=subprocess.DEVNULL,
            env={**os.environ, "SUPERVISOR_URL": self.url, **environment},
        )
        self.others.append(process)
        if wait:
            assert process.wait(PATIENCE) == 0
        return process


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    try:
        yield world
    finally:
        world.close()


class Stub:
    """A server that keeps what it is sent, and answers as it is told."""

    def __init__(self, answer: Callable[["Stub", socket.socket], None]) -> None:
        self.answer = answer
        self.requests: List[Tuple[str, str, Dict[str, Any]]] = []
        self.status: Callable[[str, str], int] = lambda method, path: 202
        self.connections = 0
        self._open: List[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def paths(self) -> List[str]:
        return [path for _, path, _ in self.requests]

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self.answer(self, connection)
        except (OSError, ValueError):
            pass

    def read(self, connection: socket.socket) -> Tuple[str, str]:
        """The next request, kept."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = connection.recv(1)
            if not piece:
                raise OSError("closed")
            head += piece
        lines = head.decode().split("\r\n")
        method, path, _ = lines[0].split(" ")
        length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length"))
        body = b""
        while len(body) < length:
            body += connection.recv(length - len(body))
        self.requests.append((method, path, json.loads(body) if body else {}))
        return method, path


def answering(stub: Stub, connection: socket.socket) -> None:
    """Answers properly, on a connection that is kept."""
    while True:
        status = stub.status(*stub.read(connection))
        connection.sendall(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nok".encode())


def hanging(stub: Stub, connection: socket.socket) -> None:
    """Accepts and never says a word."""
    stub.read(connection)
    threading.Event().wait(PATIENCE)


def dripping(stub: Stub, connection: socket.socket) -> None:
    """Answers a byte every now and then, for ever."""
    stub.read(connection)
    connection.sendall(b"HTTP/1.1 202 Accepted\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.2)


@pytest.fixture
def stub() -> Iterator[Callable[[Callable[[Stub, socket.socket], None]], Stub]]:
    stubs: List[Stub] = []

    def make(answer: Callable[[Stub, socket.socket], None]) -> Stub:
        stubs.append(Stub(answer))
        return stubs[-1]

    yield make
    for one in stubs:
        one.close()
