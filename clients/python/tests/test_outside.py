"""A service that the supervisor does not run: it makes itself known, and pulses by HTTP."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Callable

import pytest

from supervisor_client import Heartbeat

from .conftest import PATIENCE, Stub, World, answering, wait_until

MakeStub = Callable[[Callable[[Stub, socket.socket], None]], Stub]


@pytest.fixture
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("SUPERVISOR_URL", world.url)
    return world


def test_it_registers_pulses_and_is_critical_when_it_falls_silent(here: World) -> None:
    here.start()
    heartbeat = Heartbeat(interval=0.2, tag="Save Worker", critical=False)
    assert (heartbeat.tag, heartbeat.name) == ("Save Worker", "save-worker")
    heartbeat.start()
    found = here.wait_healthy("save-worker")
    assert (found["interval"], found["critical"], found["state"]) == (0.2, False, "external")
    here.wait_for("save-worker", "is critical", lambda it: it["status"] == "critical")
    heartbeat.pulse()
    here.wait_healthy("save-worker")


def test_one_that_pulses_per_request_is_never_late(here: World) -> None:
    here.start()
    heartbeat = Heartbeat(0.1, "per-request", on_demand=True)
    heartbeat.pulse()
    here.wait_healthy("per-request")
    wait_until("it would be late by far", lambda: here.service("per-request")["age"] > 1)
    assert here.service("per-request")["status"] == "healthy"


def test_another_interval_holds_from_then_on(here: World) -> None:
    here.start()
    heartbeat = Heartbeat(interval=600, tag="outside")
    heartbeat.start()
    here.wait_healthy("outside")
    heartbeat.interval = 300
    heartbeat.pulse()
    here.wait_for("outside", "promises anew", lambda it: it["interval"] == 300)
    assert heartbeat.interval == 300


def test_a_supervisor_that_forgot_it_is_told_again(here: World) -> None:
    here.start()
    heartbeat = Heartbeat(interval=600, tag="outside")
    heartbeat.start()
    here.wait_healthy("outside")
    here.end(signal.SIGKILL)
    shutil.rmtree(here.dir / "data")
    here.again()
    assert here.service("outside") == {}
    heartbeat.pulse("here I am")
    assert here.wait_healthy("outside")["total_pulses"] == 1


def test_what_the_configuration_says_of_it_holds(here: World) -> None:
    here.start('[services.outside]\ninterval = "77s"')
    heartbeat = Heartbeat(interval=5, tag="outside")
    heartbeat.start()
    assert here.wait_healthy("outside")["interval"] == 77


def test_where_nobody_may_register_nothing_happens_to_the_host(here: World) -> None:
    here.start(keys="allow_registration = false")
    heartbeat = Heartbeat(interval=5, tag="outside")
    heartbeat.start()
    heartbeat.error("x")
    assert heartbeat.flush(PATIENCE)
    assert here.service("outside") == {}


def test_history_is_deleted_with_the_supervisors_token(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.start()
    heartbeat = Heartbeat(interval=600, tag="outside")
    heartbeat.error("to be forgotten")
    heartbeat.cleanup_old_data(days=0)
    assert heartbeat.flush(PATIENCE)

    def errors() -> int:
        return sum(event["kind"] == "error" for event in here.events("outside"))

    assert errors() == 1, "not without the token"
    monkeypatch.setenv("SUPERVISOR_TOKEN", here.token)
    heartbeat = Heartbeat(interval=600, tag="outside")
    heartbeat.cleanup_old_data(days=0)
    wait_until("it is gone", lambda: errors() == 0)


def test_by_the_unix_socket_where_there_is_no_address(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.start()
    monkeypatch.delenv("SUPERVISOR_URL")
    monkeypatch.setenv("SUPERVISOR_SOCKET", str(here.dir / "data/supervisor.sock"))
    heartbeat = Heartbeat(interval=600, tag="outside")
    heartbeat.start()
    here.wait_healthy("outside")


DAEMON = """
import os
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
from supervisor_client import Heartbeat
with open("parent", "w") as file:
    file.write(str(os.getppid()))
heartbeat = Heartbeat(interval=600, tag="daemon")
heartbeat.start()
heartbeat.pulse("I live", cycle=1)
heartbeat.flush(30)
"""


@pytest.mark.parametrize("with_socket", [False, True])
def test_a_child_of_pid_1_with_and_without_a_socket_of_its_init(
    here: World, tmp_path: Path, with_socket: bool
) -> None:
    here.start()
    script = here.script(DAEMON)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as init:
        path = str(tmp_path / "init.sock")
        init.bind(path)
        init.settimeout(PATIENCE)
        here.run(script, NOTIFY_SOCKET=path if with_socket else "")
        found = here.wait_for("daemon", "says it", lambda it: it["message"] == "I live")
        assert found["total_pulses"] == 2
        parent = int((here.dir / "parent").read_text() or -1)
        assert parent != os.getpid()
        if with_socket:
            # Who started it has a watchdog of its own.
            assert init.recv(4096) == b"READY=1"
            assert init.recv(4096) == b"WATCHDOG=1"


def test_a_child_of_a_supervisor_that_speaks_for_another_service_registers_it(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.start()
    monkeypatch.setenv("SUPERVISOR_SERVICE", "worker")
    monkeypatch.setenv("SUPERVISOR_TOKEN", "good-for-the-worker-alone")
    monkeypatch.setenv("NOTIFY_SOCKET", "@nobody-listens-here")
    heartbeat = Heartbeat(interval=600, tag="side-job")
    heartbeat.pulse()
    here.wait_healthy("side-job")


def test_a_supervisor_that_listens_nowhere_is_not_looked_for_elsewhere(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPERVISOR_URL", "")
    monkeypatch.setenv("SUPERVISOR_SERVICE", "worker")
    heartbeat = Heartbeat()
    assert heartbeat._courier._http is None
    heartbeat.pulse("x")
    assert heartbeat.flush(PATIENCE)


def test_the_token_goes_only_where_it_belongs(
    stub: MakeStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    monkeypatch.setenv("SUPERVISOR_TOKEN", "the-workers-own-token")
    monkeypatch.setenv("SUPERVISOR_SERVICE", "worker")
    for tag, headers in (("worker", 1), ("other", 0)):
        heartbeat = Heartbeat(tag=tag)
        assert heartbeat._courier._http is not None
        assert heartbeat._courier._http._headers.count("the-workers-own-token") == headers
        assert "the-workers-own-token" not in repr(heartbeat)


def test_runs_are_on_record_with_their_length_and_how_they_ended(here: World) -> None:
    here.start()
    heartbeat = Heartbeat(interval=600, tag="nightly")
    with heartbeat.job():
        pass
    with pytest.raises(ValueError):
        with heartbeat.job("reports"):
            raise ValueError("no paper")
    with pytest.raises(SystemExit):
        with heartbeat.job():
            raise SystemExit(3)
    assert heartbeat.flush(PATIENCE)
    status, answer = here.call("GET", "/api/runs/nightly")
    assert status == 200, answer
    runs = answer["runs"]
    assert [run["outcome"] for run in runs] == ["failure", "failure", "success"]
    assert [run["exit_code"] for run in runs] == [3, None, None]
    assert runs[1]["message"] == "reports: ValueError: no paper"
    assert all(run["started_at"] and 0 <= run["duration"] < PATIENCE for run in runs)
    _, run = here.call("GET", f"/api/runs/nightly/{runs[1]['id']}", Authorization=f"Bearer {here.token}")
    assert "raise ValueError" in run["output"]
    found = here.service("nightly")
    assert (found["total_pulses"], found["error_count"]) == (1, 2)


def test_a_run_that_ends_while_the_supervisor_is_away_is_told_later(here: World) -> None:
    here.start()
    heartbeat = Heartbeat(interval=600, tag="nightly")
    with heartbeat.job("long"):
        assert heartbeat.flush(PATIENCE)
        here.end(signal.SIGKILL)
    here.again()

    def told() -> bool:
        _, answer = here.call("GET", "/api/runs/nightly")
        return [run["outcome"] for run in answer.get("runs", [])] == ["success"]

    wait_until("the run's end is told", told)
