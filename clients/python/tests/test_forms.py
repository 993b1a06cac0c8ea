"""The forms in which a heartbeat is used, and code that was written for ``python_core``."""

from __future__ import annotations

import ast
import asyncio
import socket
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

import supervisor_client
from supervisor_client import Config, Heartbeat, get_config

from .conftest import PATIENCE, SOURCE, Stub, World, answering

MakeStub = Callable[[Callable[[Stub, socket.socket], None]], Stub]
Said = List[Tuple[str, Dict[str, Any]]]


@pytest.fixture
def server(stub: MakeStub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    server = stub(answering)
    monkeypatch.setenv("SUPERVISOR_URL", server.url)
    return server


def said(server: Stub, heartbeat: Heartbeat) -> Said:
    """What was said, but for the introduction."""
    assert heartbeat.flush(PATIENCE)
    return [
        (path.split("/")[2], {key: value for key, value in body.items() if key != "metrics"})
        for _, path, body in server.requests if path != "/api/register"
    ]


IDLE = ("pulse", {"state": "idle", "message": "stopped"})


def test_by_hand(server: Stub) -> None:
    heartbeat = Heartbeat(interval=45, tag="x", critical=False, on_demand=True)
    assert not heartbeat.is_active
    heartbeat.start()
    assert heartbeat.is_active
    assert heartbeat.flush(PATIENCE)
    heartbeat.start()
    heartbeat.pulse("m", cycle=7)
    heartbeat.error("e", critical=True)
    heartbeat.stop()
    heartbeat.stop()
    assert not heartbeat.is_active
    assert said(server, heartbeat) == [
        ("pulse", {}), ("pulse", {"message": "m", "cycle": 7}),
        ("error", {"message": "e", "critical": True}), IDLE,
    ]
    assert server.requests[0] == (
        "POST", "/api/register",
        {"tag": "x", "interval": 45, "critical": False, "on_demand": True},
    )


def test_a_pulse_starts_what_was_not_started(server: Stub) -> None:
    heartbeat = Heartbeat(tag="x")
    heartbeat.pulse()
    assert heartbeat.is_active
    assert said(server, heartbeat) == [("pulse", {})]


def test_as_a_context_manager(server: Stub) -> None:
    with Heartbeat(tag="x") as heartbeat:
        assert heartbeat.is_active
        heartbeat.flush(PATIENCE)
        heartbeat.pulse("m")
    assert said(server, heartbeat) == [("pulse", {}), ("pulse", {"message": "m"}), IDLE]


@pytest.mark.parametrize(("failure", "ends_well"), [
    (ValueError("no"), False), (SystemExit(3), False), (SystemExit(0), True),
    (SystemExit(), True), (KeyboardInterrupt(), True), (asyncio.CancelledError(), True),
])
def test_what_fails_in_it_is_an_error_and_goes_on_to_the_host(
    failure: BaseException, ends_well: bool, server: Stub
) -> None:
    heartbeat = Heartbeat(tag="x")
    with pytest.raises(type(failure)) as seen:
        with heartbeat:
            heartbeat.flush(PATIENCE)
            raise failure
    assert seen.value is failure
    assert not heartbeat.is_active
    last = said(server, heartbeat)[-1]
    if ends_well:
        assert last == IDLE
    else:
        # And no farewell after it: its silence is to be noticed.
        assert last[0] == "error"
        assert type(failure).__name__ in last[1]["message"]


def test_as_an_asynchronous_context_manager(server: Stub) -> None:
    heartbeat = Heartbeat(tag="x")

    async def work() -> None:
        async with heartbeat as it:
            assert it is heartbeat
            await asyncio.get_running_loop().run_in_executor(None, heartbeat.flush, PATIENCE)
            it.pulse("m")

    asyncio.run(work())
    assert said(server, heartbeat) == [("pulse", {}), ("pulse", {"message": "m"}), IDLE]


def test_as_a_decorator(server: Stub) -> None:
    heartbeat = Heartbeat(tag="x")

    @heartbeat
    def double(number: int) -> int:
        """Doubles."""
        heartbeat.flush(PATIENCE)
        heartbeat.pulse("amid")
        return number * 2

    @heartbeat
    async def fail() -> None:
        raise ValueError("no")

    assert (double(21), double.__name__, double.__doc__) == (42, "double", "Doubles.")
    with pytest.raises(ValueError, match="no"):
        asyncio.run(fail())
    assert said(server, heartbeat)[:3] == [("pulse", {}), ("pulse", {"message": "amid"}), ("pulse", {})]
    assert said(server, heartbeat)[-1] == ("error", {"message": "ValueError: no", "critical": False})


def test_jobs_say_when_they_began_how_long_they_took_and_how_they_ended(server: Stub) -> None:
    heartbeat = Heartbeat(tag="x")

    with heartbeat.job("nightly"):
        pass

    @heartbeat.job("hourly")
    def fail() -> None:
        raise ValueError("no")

    @heartbeat.job
    def plain(number: int) -> int:
        return number

    @heartbeat.job()
    async def later() -> int:
        return 7

    with pytest.raises(ValueError):
        fail()
    assert plain(5) == 5
    assert asyncio.run(later()) == 7
    with pytest.raises(SystemExit):
        with heartbeat.job("exits"):
            sys.exit(3)
    with pytest.raises(SystemExit):
        with heartbeat.job():
            sys.exit("no more disk")
    told = said(server, heartbeat)
    assert [path for path, _ in told] == ["run"] * 12
    runs = [(begin, end) for (_, begin), (_, end) in zip(told[::2], told[1::2])]
    for begin, end in runs:
        assert begin == {"state": "start", "rid": end.pop("rid")}
        assert 0 <= end.pop("duration") < PATIENCE
    assert len({begin["rid"] for begin, _ in runs}) == 6
    ends = [end for _, end in runs]
    output = ends[1].pop("output")
    assert output.startswith("Traceback") and 'raise ValueError("no")' in output
    assert ends == [
        {"state": "success", "message": "nightly"},
        {"state": "failure", "message": "hourly: ValueError: no"},
        {"state": "success"},
        {"state": "success"},
        {"state": "failure", "message": "exits", "exit_code": 3},
        {"state": "failure", "message": "no more disk", "exit_code": 1},
    ]


#: As it was written for another library: only the import differs.
EXISTING = """
import supervisor_client as python_core

config = python_core.get_config()
heartbeat = python_core.Heartbeat(interval=30, tag="save_worker", critical=True, on_demand=False)


class SaveWorker:
    def __init__(self):
        self.heartbeat = heartbeat
        self.config = config

    def run(self, items):
        self.heartbeat.start()
        try:
            for item in items:
                self.save(item)
                self.heartbeat.pulse()
        except Exception as error:
            self.heartbeat.error(f"save failed: {error}")
        finally:
            self.heartbeat.stop()

    def save(self, item):
        if item is None:
            raise ValueError("nothing to save")


worker = SaveWorker()
active = [heartbeat.is_active, heartbeat.is_active()]
worker.run([1, 2])
worker.run([None])
active += [bool(heartbeat.is_active), heartbeat.is_active() is True]
heartbeat.cleanup_old_data()
heartbeat.cleanup_old_data(days=7)
assert heartbeat.interval == 30 and heartbeat.tag == "save_worker"
assert not any(active), active
with python_core.Heartbeat(60, "other") as other:
    assert other.is_active and other.is_active()
    other.pulse()
"""


def test_code_written_for_python_core_runs_unchanged(world: World) -> None:
    world.start()
    world.run(world.script(EXISTING), SUPERVISOR_TOKEN="")
    found = world.service("save_worker")
    assert (found["interval"], found["critical"]) == (30, True)
    assert found["error_count"] == 1
    assert any("nothing to save" in event["reason"] for event in world.events("save_worker"))
    assert world.service("other")["message"] == "stopped"


def test_without_any_supervisor_it_runs_as_well(world: World) -> None:
    world.run(world.script(EXISTING), SUPERVISOR_URL="http://127.0.0.1:1")


def test_the_configuration_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPERVISOR_URL")
    assert get_config()["url"] == "http://127.0.0.1:5001"
    for name, value in {
        "SUPERVISOR_URL": "http://box:5001/", "SUPERVISOR_SERVICE": "worker",
        "SUPERVISOR_TOKEN": "hush", "NOTIFY_SOCKET": "@abc", "SUPERVISOR_HEARTBEAT_FILE": "beat.json",
    }.items():
        monkeypatch.setenv(name, value)
    config = get_config()
    assert isinstance(config, Config)
    assert (config.url, config.service, config.token) == ("http://box:5001", "worker", "hush")
    assert config.get("notify_socket") == "@abc"
    assert config["heartbeat_file"] == Path("beat.json")
    assert config.get("nothing", 7) == 7
    assert "hush" not in f"{config} {dict(config)}"
    assert len(config) == len(list(config)) == len(dict(config))
    with pytest.raises(KeyError):
        config["token"]


def test_names_are_made_legal() -> None:
    for tag, name in {
        "Save Worker": "save-worker", "a/b": "a-b", "_x": "x", "ÄÖ": "python", "ok_1.2@3-4": "ok_1.2@3-4",
        "x" * 100: "x" * 64, "internal.archive": "x-internal.archive", "-": "python", "..": "python", "__main__": "main__",
    }.items():
        assert Heartbeat(tag=tag).name == name, tag
    assert Heartbeat(tag=None).name == Path(sys.argv[0]).stem.lstrip("_")


def test_it_is_python_3_9() -> None:
    files = list(SOURCE.rglob("*.py"))
    assert len(files) > 5
    for file in files:
        ast.parse(file.read_text(), feature_version=(3, 9))


def test_what_is_public_is_documented() -> None:
    for name in supervisor_client.__all__:
        assert getattr(supervisor_client, name).__doc__
