"""Whatever happens to the supervisor or is handed in: the host is neither held up nor hurt."""

from __future__ import annotations

import gc
import json
import math
import multiprocessing
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, List, Tuple

import pytest

from supervisor_client import Heartbeat, _sender
from supervisor_client._http import TIMEOUT
from supervisor_client._sender import SENDER

from .conftest import (
    BUSY, PATIENCE, SOURCE, Stub, answering, dripping, free_port, hanging, wait_until,
)

MakeStub = Callable[[Callable[[Stub, socket.socket], None]], Stub]


def everything(heartbeat: Heartbeat) -> None:
    """Every method once."""
    heartbeat.start()
    heartbeat.pulse()
    heartbeat.pulse("m", state="working", cycle=1, progress=0.5, metrics={"a": 1}, busy_for=1)
    heartbeat.error("e", critical=True)
    heartbeat.cleanup_old_data(7)
    with heartbeat.job("j"):
        pass
    heartbeat.stop()


@pytest.mark.parametrize("server", ["nobody", "hanging", "dripping", "silent", "black hole"])
def test_no_method_waits_for_a_supervisor_that_is_not_there(
    server: str, stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server == "nobody":
        url = f"http://127.0.0.1:{free_port()}"
    elif server == "silent":
        # A full backlog: not even connected.
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
    elif server == "black hole":
        url = "http://192.0.2.1:5001"
    else:
        url = stub(hanging if server == "hanging" else dripping).url
    monkeypatch.setenv("SUPERVISOR_URL", url)
    heartbeat = Heartbeat(interval=30, tag="x")
    took = []
    for _ in range(50):
        begin = time.perf_counter()
        everything(heartbeat)
        took.append(time.perf_counter() - begin)
    # Each makes ten calls: did they wait, none of them would be so quick.
    assert sorted(took)[25] < TIMEOUT / 10
    # And whoever asks to wait waits as long as he says.
    begin = time.perf_counter()
    heartbeat.flush(0.2)
    assert time.perf_counter() - begin < 0.2 + BUSY


@pytest.mark.parametrize("misbehaviour", [hanging, dripping])
def test_one_exchange_takes_two_seconds_at_most(
    misbehaviour: Callable[[Stub, socket.socket], None],
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = stub(misbehaviour)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    heartbeat = Heartbeat(tag="x")
    heartbeat.pulse("one")
    begin = time.monotonic()
    assert heartbeat.flush(PATIENCE)
    took = time.monotonic() - begin
    assert took < 2 * TIMEOUT + BUSY, "its registration and itself"
    assert took > TIMEOUT * 0.9


def test_a_queue_that_is_full_drops_the_oldest_and_takes_no_more_room(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(hanging)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    heartbeat = Heartbeat(tag="x")
    for n in range(5_000):
        heartbeat.pulse(str(n))
    assert len(SENDER._waiting) <= _sender.LIMIT
    assert heartbeat._courier.waiting <= _sender.LIMIT
    assert SENDER.dropped >= 5_000 - _sender.LIMIT - 1
    last = SENDER._waiting[-1]
    assert last[1].body["message"] == "4999"
    # Errors are kept to be told later, but not without end either.
    for n in range(500):
        SENDER._postpone(*last, False)
    assert len(SENDER._later) == _sender.LATER


def test_plain_pulses_that_wait_are_one(stub: MakeStub, monkeypatch: pytest.MonkeyPatch) -> None:
    server = stub(hanging)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    heartbeat = Heartbeat(tag="x")
    for _ in range(1_000):
        heartbeat.pulse()
    assert heartbeat._courier.waiting <= 1
    heartbeat.pulse("said")
    for _ in range(1_000):
        heartbeat.pulse()
    assert heartbeat._courier.waiting <= 3, "not across what says something"


def test_a_pulse_is_not_told_when_it_is_not_true_any_more(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    heartbeat = Heartbeat(interval=0.1, tag="x")
    courier = heartbeat._courier
    from supervisor_client import _messages
    late = _messages.pulse("x", {"message": "late"})
    late.born -= courier.patience + 0.1
    assert not courier.deliver(late)
    late = _messages.error("x", "late", False)
    late.born -= courier.patience + 0.1
    assert courier.deliver(late), "an error is true for ever"
    assert server.paths() == ["/api/register", "/api/error/x"]


class Hostile:
    """Raises whatever is done to it."""

    def _raise(self, *_: object) -> Any:
        raise RuntimeError("hostile")

    __str__ = __repr__ = __float__ = __int__ = __bool__ = __len__ = __iter__ = _raise
    __eq__ = __hash__ = __format__ = _raise

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("hostile")


NONSENSE: List[Any] = [
    None, "", "x", b"\xff", 0, -1, 10**400, 1.5, math.nan, math.inf, -math.inf, True, [], {}, (),
    {"a": math.nan, "B b": "1.5", 5: 5, None: None, "ok": True}, object(), Hostile(), "\ud800\n\0",
    "x" * 3_000_000, "ü" * 20_000, lambda: None, Exception("e"), {"x" * 1000: 1},
    {str(n): n for n in range(1000)}, float, 1j,
]


@pytest.mark.parametrize("nth", range(len(NONSENSE)))
def test_nonsense_is_told_as_well_as_can_be(
    nth: int, stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    it = NONSENSE[nth]
    for heartbeat in (
        Heartbeat(it, "x"), Heartbeat(tag=it), Heartbeat(1, "x", it, it), Heartbeat(it, it, it, it),
    ):
        assert 0.1 <= heartbeat.interval <= 366 * 24 * 3600
        repr(heartbeat)
        heartbeat.interval = it
        before = len(server.requests)
        heartbeat.pulse(it)
        heartbeat.pulse(state=it, cycle=it, progress=it, metrics=it, busy_for=it, other=it)
        heartbeat.error(it, it)
        heartbeat.cleanup_old_data(it)
        heartbeat.flush(it)
        with heartbeat.job("j" if callable(it) else it):
            pass
        heartbeat.stop()
        assert heartbeat.flush(PATIENCE)
        told = server.requests[before:]
        # Plain ones that wait together are one.
        assert 2 <= sum(path.startswith("/api/pulse/") for _, path, _ in told) <= 3, told
        assert sum(path.startswith("/api/run/") for _, path, _ in told) == 2
        for _, path, body in told:
            name = path.split("/")[3].split("?")[0] if path.count("/") > 2 else body["tag"]
            assert 1 <= len(name) <= 64 and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.@-")
            assert len(json.dumps(body)) < 64 * 1024, "more than a supervisor takes"
            assert len(body.get("message", "").encode()) <= 10_000
            metrics = body.get("metrics", {})
            assert len(metrics) <= 32
            assert all(math.isfinite(value) for value in metrics.values())


def test_what_is_told_is_what_a_supervisor_takes(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start()
    monkeypatch.setenv("SUPERVISOR_URL", world.url)
    refused: List[Tuple[str, int]] = []
    heartbeat = Heartbeat(interval=600, tag="x")
    http = heartbeat._courier._http
    assert http is not None
    exchange = http.exchange

    def watched(message: Any) -> int:
        status = exchange(message)
        if status >= 300:
            refused.append((f"{message.method} {message.path} {message.body}"[:300], status))
        return status

    monkeypatch.setattr(http, "exchange", watched)
    for it in NONSENSE:
        heartbeat.pulse(it, state=it, cycle=it, progress=it, metrics=it, busy_for=it)
        heartbeat.error(it)
    assert heartbeat.flush(PATIENCE)
    assert refused == []
    assert world.service("x")["error_count"] == len(NONSENSE)


@pytest.mark.parametrize("url", [
    "nonsense", "http://", "http://x:port", "http://x:99999999", "ftp://x", "http://[::1", " ",
    "http://a b/", "http://x/\r\nEvil: 1", "\0", "http://user:secret@127.0.0.1:1/deep/er/",
])
def test_an_address_that_is_none_hurts_nobody(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "\0" in url:
        monkeypatch.setattr(os, "environ", {**os.environ, "SUPERVISOR_URL": url})
    else:
        monkeypatch.setenv("SUPERVISOR_URL", url)
    monkeypatch.setenv("NOTIFY_SOCKET", "x" * 500)
    monkeypatch.setenv("SUPERVISOR_HEARTBEAT_FILE", "/proc/nowhere/heartbeat.json")
    heartbeat = Heartbeat(tag="x")
    everything(heartbeat)
    assert heartbeat.flush(PATIENCE)


def test_a_file_is_replaced_whole_and_its_cycle_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "deep" / "heartbeat.json"
    file.parent.mkdir()
    file.write_text('{"timestamp":"2026-01-02T18:30:00Z","cycle":41}')
    monkeypatch.setenv("SUPERVISOR_HEARTBEAT_FILE", str(file))
    broken: List[str] = []
    done = threading.Event()

    def reader() -> None:
        while not done.is_set():
            try:
                json.loads(file.read_text())
            except ValueError as why:
                broken.append(str(why))

    looking = threading.Thread(target=reader)
    looking.start()
    try:
        heartbeat = Heartbeat(tag="x")
        for n in range(200):
            heartbeat.pulse(f"step {n}")
        assert heartbeat.flush(PATIENCE)
    finally:
        done.set()
        looking.join()
    assert broken == []
    said = json.loads(file.read_text())
    assert said["cycle"] == 241
    assert said["last_action"] == "step 199"
    assert list(said) == ["timestamp", "cycle", "last_action", "healthy_agents", "unhealthy_agents"]
    assert os.listdir(file.parent) == ["heartbeat.json"], "nothing is left beside it"


FORMS_OF_DAMAGE = [b"", b"{", b"null", b"[]", b'{"cycle":"5"}', b'{"cycle":-1}', b'{"cycle":5.5}',
                   b"\xff\xfe", b'{"cycle":' + b"9" * 400 + b"}", b"[" * 50_000]


@pytest.mark.parametrize("damage", FORMS_OF_DAMAGE)
def test_a_damaged_file_is_begun_anew(
    damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "heartbeat.json"
    file.write_bytes(damage)
    monkeypatch.setenv("SUPERVISOR_HEARTBEAT_FILE", str(file))
    heartbeat = Heartbeat(tag="x")
    heartbeat.pulse()
    assert heartbeat.flush(PATIENCE)
    assert json.loads(file.read_text())["cycle"] == 1


# === forks, signals, ends ===


def test_a_forked_child_has_a_queue_and_connection_of_its_own(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    heartbeat = Heartbeat(tag="x")
    heartbeat.pulse("parent")
    assert heartbeat.flush(PATIENCE)
    # As if another thread were amid a pulse, with more waiting.
    with SENDER._changed:
        SENDER._sending = heartbeat._courier
        child = os.fork()
        if child == 0:
            status = 1
            try:
                heartbeat.pulse("child")
                status = 0 if heartbeat.flush(PATIENCE) else 2
            finally:
                os._exit(status)
        SENDER._sending = None
    assert os.waitpid(child, 0)[1] == 0
    heartbeat.pulse("parent again")
    assert heartbeat.flush(PATIENCE)
    said = [body.get("message") for _, path, body in server.requests if "pulse" in path]
    assert said == ["parent", "child", "parent again"]
    assert server.connections == 2


def test_forks_amid_a_storm_of_pulses_neither_hang_nor_send_twice(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    heartbeat = Heartbeat(tag="x")
    done = threading.Event()

    def storm() -> None:
        n = 0
        while not done.is_set():
            heartbeat.pulse(f"parent {n}")
            n += 1
            time.sleep(0.001)

    threads = [threading.Thread(target=storm) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for n in range(30):
            child = os.fork()
            if child == 0:
                heartbeat.pulse(f"child {n}")
                os._exit(0 if heartbeat.flush(PATIENCE) else 2)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert heartbeat.flush(PATIENCE)
    said = [body.get("message", "") for _, path, body in server.requests if "pulse" in path]
    children = [message for message in said if message.startswith("child")]
    assert children == [f"child {n}" for n in range(30)]


def _work(heartbeat: Heartbeat, what: str) -> None:
    heartbeat.pulse(what)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_of_multiprocessing_pulses_before_it_ends(
    method: str, stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    heartbeat = Heartbeat(interval=7, tag="Some Work", critical=False)
    copy = pickle.loads(pickle.dumps(heartbeat))
    assert (copy.name, copy.interval, copy.critical) == ("some-work", 7, False)
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=_work, args=(heartbeat, method))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    said = [body.get("message") for _, path, body in server.requests if "pulse" in path]
    assert said == [method]


def test_a_signals_handler_may_pulse_amid_a_pulse(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    heartbeat = Heartbeat(tag="x")
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        heartbeat.pulse(f"signal {handled}")
        heartbeat.error("signal")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        deadline = time.monotonic() + PATIENCE
        while handled < 200 and time.monotonic() < deadline:
            heartbeat.pulse("amid")
            heartbeat.flush(0.001)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled >= 200
    assert heartbeat.flush(PATIENCE)


def test_many_threads_may_share_one_heartbeat(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    heartbeat = Heartbeat(tag="x")

    def work(thread: int) -> None:
        for n in range(50):
            heartbeat.pulse(f"{thread} {n}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heartbeat.flush(PATIENCE)
    said = [body.get("message", "") for _, path, body in server.requests if "pulse" in path]
    assert len(said) == len(set(said)) == 400
    for thread_number in range(8):
        own = [message for message in said if message.startswith(f"{thread_number} ")]
        assert own == [f"{thread_number} {n}" for n in range(50)], "each in its order"


def test_a_heartbeat_that_its_host_has_dropped_still_says_its_last_word(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    for n in range(20):
        Heartbeat(tag=f"x{n}").error("a last word")
        gc.collect()
    wait_until("all are told", lambda: sum("error" in path for path in server.paths()) == 20)


def test_any_number_of_heartbeats_share_a_thread_and_a_connection(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    for n in range(100):
        with Heartbeat(tag=f"x{n}") as heartbeat:
            heartbeat.pulse("m")
    assert heartbeat.flush(PATIENCE)
    assert sum("pulse" in path for path in server.paths()) == 300
    assert server.connections == 1
    ours = [thread for thread in threading.enumerate() if thread.name == "supervisor-client"]
    assert len(ours) == 1


def test_one_heartbeat_waits_for_none_of_the_others(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(hanging)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    begin = time.monotonic()
    heartbeats = [Heartbeat(tag=f"x{n}") for n in range(50)]
    for heartbeat in heartbeats:
        heartbeat.pulse("m")
    for heartbeat in heartbeats:
        assert heartbeat.flush(PATIENCE)
    assert time.monotonic() - begin < 2 * TIMEOUT + BUSY, "not two seconds for each"


def _run(script: str, url: str, **environment: str) -> Tuple[float, int, str]:
    """Runs a script of its own: how long it took, how it ended, what it printed."""
    begin = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", script], timeout=PATIENCE, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "SUPERVISOR_URL": url, **environment},
    )
    return time.monotonic() - begin, ended.returncode, ended.stdout


EXITS = {
    "at the end": "",
    "sys.exit": "import sys; sys.exit(0)",
    "an exception": "raise ValueError",
    "in an exit handler": "import atexit; atexit.register(h.pulse, 'from the exit handler')",
    "a handler after ours": "import atexit; atexit.unregister(print); atexit.register(lambda: None)",
}


@pytest.mark.parametrize("how", EXITS)
def test_what_waits_is_told_before_the_interpreter_ends(how: str, stub: MakeStub) -> None:
    server = stub(answering)
    script = f"""
from supervisor_client import Heartbeat
h = Heartbeat(tag="x")
h.pulse("first")
h.error("last")
{EXITS[how]}
"""
    _, code, said = _run(script, server.url)
    assert code == (1 if how == "an exception" else 0), said
    assert server.paths()[:3] == ["/api/register", "/api/pulse/x", "/api/error/x"]
    assert ("Traceback" in said) == (how == "an exception")
    if how == "in an exit handler":
        assert server.requests[-1][2] == {"message": "from the exit handler"}


def test_an_exit_handler_that_runs_before_the_import_still_pulses(stub: MakeStub) -> None:
    # Registered before the client is imported, it runs after the client has flushed.
    server = stub(answering)
    script = """
import atexit
atexit.register(lambda: (h.pulse("very last"), h.flush(2)))
from supervisor_client import Heartbeat
h = Heartbeat(tag="x")
"""
    _, code, said = _run(script, server.url)
    assert (code, said) == (0, "")
    assert server.requests[-1][2] == {"message": "very last"}


@pytest.mark.parametrize("misbehaviour", [hanging, dripping])
def test_a_hanging_supervisor_holds_up_no_exit(
    misbehaviour: Callable[[Stub, socket.socket], None], stub: MakeStub
) -> None:
    server = stub(misbehaviour)
    script = """
from supervisor_client import Heartbeat
for n in range(20):
    h = Heartbeat(tag=f"x{n}")
    h.pulse("m")
    h.error("e")
"""
    took, code, said = _run(script, server.url)
    assert (code, said) == (0, "")
    assert took < TIMEOUT + BUSY, "two seconds for all of them together, not 80"


def test_an_exit_without_a_supervisor_takes_no_time(stub: MakeStub) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    script = "from supervisor_client import Heartbeat; h = Heartbeat(tag='x'); h.pulse(); h.error('e')"
    took = []
    for _ in range(3):
        seconds, code, said = _run(script, url)
        assert (code, said) == (0, "")
        took.append(seconds)
    assert min(took) < TIMEOUT


def test_importing_it_costs_little() -> None:
    script = """
import sys
import supervisor_client
heavy = {"ssl", "asyncio", "http.client", "urllib.request", "tempfile", "multiprocessing"}
print(sorted(heavy & set(sys.modules)))
"""
    _, code, said = _run(script, "")
    assert (code, said.strip()) == (0, "[]")


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_errors_are_told_when_the_supervisor_can_take_them(
    status: int, stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    monkeypatch.setattr(_sender, "_PAUSE_MIN", 0.01)
    answers = iter([status] * 3)
    server.status = lambda method, path: next(answers, 202) if "error" in path else 202
    heartbeat = Heartbeat(tag="x")
    heartbeat.error("first")
    heartbeat.pulse("then")
    wait_until("it is told", lambda: server.paths().count("/api/error/x") == 4)
    assert server.paths().count("/api/pulse/x") == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 507, 302])
def test_what_is_refused_for_good_is_not_told_again(
    status: int, stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    server.status = lambda method, path: status if "error" in path else 202
    heartbeat = Heartbeat(tag="x")
    heartbeat.error("once")
    assert heartbeat.flush(PATIENCE)
    assert not SENDER._later
    # 404 may mean that it was forgotten: it registers once more, and says it once more.
    assert server.paths().count("/api/error/x") == (2 if status == 404 else 1)


def test_answers_at_random_hurt_nobody(stub: MakeStub, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(7)
    pieces = [b"HTTP/1.1 ", b"200 OK", b"\r\n", b"\r\n\r\n", b"Content-Length: ", b"5", b"-1", b"\0",
              b"\xff" * 100, b"Transfer-Encoding: chunked", b"HTTP/1.1 202 A\r\n\r\n", b"9" * 50,
              b"HTTP/1.1 100 Continue\r\n\r\n", b"x" * 70_000]

    def noise(one: Stub, connection: socket.socket) -> None:
        while True:
            one.read(connection)
            for _ in range(dice.randrange(6)):
                connection.sendall(dice.choice(pieces))
            if dice.random() < 0.7:
                connection.close()

    server = stub(noise)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    monkeypatch.setattr("supervisor_client._http.TIMEOUT", 0.05)
    monkeypatch.setattr("supervisor_client._http._HUNG", 0.0)
    monkeypatch.setattr(_sender, "_PAUSE_MIN", 0.001)
    heartbeat = Heartbeat(tag="x")
    for n in range(100):
        heartbeat.pulse(str(n))
        assert heartbeat.flush(PATIENCE)
    assert SENDER._thread is not None and SENDER._thread.is_alive()
    assert sum("pulse" in path for path in server.paths()) > 50
