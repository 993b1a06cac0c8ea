"""What a service that the supervisor runs says of its state, beside pulses by another way."""

from __future__ import annotations

from .conftest import World, wait_until
from .test_child import worker


def test_one_that_has_stopped_is_not_late(world: World) -> None:
    script = world.script("""
import time
from supervisor_client import Heartbeat
# Its pulse goes by the socket, its farewell by HTTP, within microseconds of each other.
with Heartbeat(interval=1):
    pass
time.sleep(1000)
""")
    world.start(worker(script, 'interval = "1s"\ndegraded_after = 2\ncritical_after = 3'))
    found = world.wait_for("worker", "has stopped", lambda it: it["message"] == "stopped")
    generation = found["generation"]
    wait_until("it would be late by far", lambda: world.service("worker")["age"] > 4)
    found = world.service("worker")
    assert (found["status"], found["generation"]) == ("healthy", generation)


def test_a_stop_is_not_overtaken_by_the_start_after_it(world: World) -> None:
    script = world.script("""
import os, time
from supervisor_client import Heartbeat
heartbeat = Heartbeat(interval=0.5)
for _ in range(50):
    heartbeat.start()
    heartbeat.stop()
heartbeat.start()
open("started", "w").close()
time.sleep(1000)
""")
    world.start(worker(script, 'interval = "1s"\ndegraded_after = 2\ncritical_after = 3'))
    wait_until("it has started", (world.dir / "started").exists)
    # Were the last farewell taken for the last word, it would never be late.
    world.wait_for("worker", "is restarted", lambda it: it["generation"] > 1)


def test_a_farewell_never_overtakes_the_pulses_before_it(world: World) -> None:
    script = world.script("""
import os, time
from supervisor_client import Heartbeat
heartbeat = Heartbeat(interval=3600)
for n in range(15):
    # Fewer than the kernel has room for (net.unix.max_dgram_qlen): beyond that they fold.
    for _ in range(5):
        heartbeat.pulse()
    heartbeat.pulse(f"round {n}", state="idle")
    heartbeat.flush(60)
    open("said", "w").write(str(n))
    while not os.path.exists(f"next{n}"):
        time.sleep(0.002)
time.sleep(1000)
""")
    world.start(worker(script, 'interval = "1h"'))
    for n in range(15):
        wait_until("it has said so", lambda: (world.dir / "said").exists()
                   and (world.dir / "said").read_text() == str(n))
        # What is heard by now is all: nothing of the five comes later.
        assert world.service("worker")["total_pulses"] == (n + 1) * 6
        (world.dir / f"next{n}").touch()


def test_a_farewell_that_http_cannot_take_is_told_later(world: World) -> None:
    script = world.script("""
import os, time
url = os.environ["SUPERVISOR_URL"]
os.environ["SUPERVISOR_URL"] = "http://127.0.0.1:1"
os.environ.pop("SUPERVISOR_SOCKET", None)
from supervisor_client import Heartbeat, _http
with Heartbeat(interval=1) as heartbeat:
    pass
heartbeat.flush(60)
# The way is open again.
heartbeat._courier._http = _http.Http.shared(url, None, os.environ["SUPERVISOR_TOKEN"])
time.sleep(1000)
""")
    world.start(worker(script, 'interval = "1s"\ndegraded_after = 8\ncritical_after = 9'))
    found = world.wait_for("worker", "has stopped", lambda it: it["total_pulses"] > 1)
    wait_until("it would be late", lambda: world.service("worker")["age"] > 3)
    assert world.service("worker")["status"] == "healthy", found


def test_a_farewell_that_came_too_late_is_not_told_at_all(world: World) -> None:
    script = world.script("""
import os, time
url = os.environ["SUPERVISOR_URL"]
os.environ["SUPERVISOR_URL"] = "http://127.0.0.1:1"
from supervisor_client import Heartbeat, _http
heartbeat = Heartbeat(interval=0.5)
heartbeat.start()
heartbeat.stop()
heartbeat.flush(60)
heartbeat.start()
heartbeat._courier._http = _http.Http.shared(url, None, os.environ["SUPERVISOR_TOKEN"])
time.sleep(1000)
""")
    world.start(worker(script, 'interval = "1s"\ndegraded_after = 2\ncritical_after = 3'))
    # Were it told after the start that followed it, silence would be no lateness.
    world.wait_for("worker", "is restarted", lambda it: it["generation"] > 1)


def test_what_http_cannot_take_is_said_by_the_socket_as_far_as_it_has_words(world: World) -> None:
    script = world.script("""
import os, time
os.environ["SUPERVISOR_URL"] = "http://127.0.0.1:1"
from supervisor_client import Heartbeat
heartbeat = Heartbeat(interval=1)
heartbeat.pulse("long work", busy_for=60)
while not os.path.exists("stuck"):
    time.sleep(0.02)
os.remove("stuck")
heartbeat.pulse(state="stuck")
time.sleep(1000)
""")
    world.start(worker(script, 'interval = "500ms"\ndegraded_after = 2\ncritical_after = 3'))
    world.wait_for("worker", "works long", lambda it: it["message"] == "long work")
    wait_until("it would be late", lambda: world.service("worker")["age"] > 3)
    found = world.service("worker")
    assert (found["status"], found["generation"]) == ("healthy", 1)
    (world.dir / "stuck").touch()
    world.wait_for("worker", "is restarted", lambda it: it["generation"] > 1)
