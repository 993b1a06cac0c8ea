"""A service that the supervisor runs, by each way that it may have."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from .conftest import World, wait_until

#: Pulses until it is told to be silent; how it reaches the supervisor stands in the lines before.
SERVICE = """
import os, time
{before}
import supervisor_client as python_core

heartbeat = python_core.Heartbeat(interval=0.5, tag="worker", critical=True)
heartbeat.start()
while True:
    if not os.path.exists("silent"):
        heartbeat.pulse()
    time.sleep(0.05)
"""

WAYS = {
    "by its notify socket": "",
    "by http": 'del os.environ["NOTIFY_SOCKET"]',
    "by http, without a token": 'del os.environ["NOTIFY_SOCKET"], os.environ["SUPERVISOR_TOKEN"]',
    "by a file": 'del os.environ["NOTIFY_SOCKET"]; os.environ["SUPERVISOR_URL"] = "http://127.0.0.1:1"',
    "by a file alone": 'del os.environ["NOTIFY_SOCKET"], os.environ["SUPERVISOR_URL"]',
}


def worker(script: Path, more: str = "") -> str:
    return f"""
[services.worker]
command = [{sys.executable!r}, {str(script)!r}]
{more}
"""


@pytest.mark.parametrize("way", WAYS)
def test_it_is_healthy_while_it_pulses_and_poked_when_it_does_not(world: World, way: str) -> None:
    script = world.script(SERVICE.format(before=WAYS[way]))
    file = 'heartbeat_file = "beats/heartbeat.json"' if "file" in way else ""
    world.start(worker(script, f'interval = "1s"\ndegraded_after = 2\ncritical_after = 3\n{file}'))
    world.wait_healthy("worker")
    world.wait_for("worker", "goes on pulsing", lambda it: it["total_pulses"] > 5)
    assert world.service("worker")["generation"] == 1
    assert (world.dir / "beats/heartbeat.json").exists() == ("file" in way)
    (world.dir / "silent").touch()
    world.wait_for("worker", "is restarted", lambda it: it["generation"] > 1)
    assert any("kind: stale" in line for line in world.output().splitlines())
    (world.dir / "silent").unlink()
    world.wait_healthy("worker")


def test_its_words_arrive(world: World) -> None:
    script = world.script("""
import time
from supervisor_client import Heartbeat
heartbeat = Heartbeat()
heartbeat.pulse("batch 7", cycle=7, progress=0.5, metrics={"queue depth": 12}, rows=3)
time.sleep(1000)
""")
    world.start(worker(script, 'interval = "1h"'))
    found = world.wait_for("worker", "says it", lambda it: it["message"] == "batch 7")
    assert found["total_pulses"] == 1
    if "metrics" in found:
        assert set(found["metrics"]) == {"queue_depth", "rows"}


def test_its_errors_count_and_a_critical_one_at_once(world: World) -> None:
    script = world.script("""
import os, time
from supervisor_client import Heartbeat
heartbeat = Heartbeat(interval=3600)
heartbeat.start()
heartbeat.error(ValueError("no such batch"))
while not os.path.exists("worse"):
    time.sleep(0.02)
heartbeat.error("disk full", critical=True)
time.sleep(1000)
""")
    world.start(worker(script, 'interval = "1h"'))
    found = world.wait_for("worker", "warns", lambda it: it["status"] == "warning")
    assert "ValueError: no such batch" in found["reason"]
    (world.dir / "worse").touch()
    found = world.wait_for("worker", "is critical", lambda it: it["status"] == "critical")
    assert "disk full" in found["reason"]


def test_it_deletes_its_own_old_history_and_nothing_young(world: World) -> None:
    script = world.script("""
import os, time
from supervisor_client import Heartbeat
heartbeat = Heartbeat(interval=3600)
heartbeat.error("old")
heartbeat.cleanup_old_data()
heartbeat.cleanup_old_data(days=1)
heartbeat.cleanup_old_data(days=0)
heartbeat.pulse("asked")
time.sleep(1000)
""")
    world.start(worker(script, 'interval = "1h"'))
    world.wait_for("worker", "has asked", lambda it: it["message"] == "asked")
    kinds = [event["kind"] for event in world.events("worker")]
    assert "error" in kinds, "what is younger than a day is the owner's"


def test_it_goes_on_while_the_supervisor_is_away_and_tells_its_errors_later(world: World) -> None:
    script = world.script("""
import os, time
from supervisor_client import Heartbeat
heartbeat = Heartbeat(interval=10)
heartbeat.start()
while True:
    heartbeat.pulse()
    if os.path.exists("away"):
        os.remove("away")
        heartbeat.error("while nobody listened")
        open("said", "w").close()
    time.sleep(0.05)
""")
    world.start(worker(script, 'interval = "10s"'))
    world.wait_healthy("worker")
    pid = world.service("worker")["pid"]
    world.end(signal.SIGKILL)
    (world.dir / "away").touch()
    wait_until("it has said so", (world.dir / "said").exists)
    world.again()
    wait_until("the error is told", lambda: any(
        "while nobody listened" in event["reason"] for event in world.events("worker")
    ))
    found = world.wait_healthy("worker")
    assert (found["pid"], found["generation"]) == (pid, 1)
    os.kill(pid, 0)
