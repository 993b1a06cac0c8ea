"""The health API as an existing C# client reads it.

System.Text.Json with its web defaults (JsonSerializerDefaults.Web, which is what
``HttpClient.GetFromJsonAsync`` uses): names of properties are compared without regard to case,
unknown ones ignored, of duplicates the last wins, numbers may stand in quotes, an integer has
no fraction, and null fits only what may be null. What follows is those rules, and the classes
of such a client.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Optional, Tuple
from urllib.request import urlopen

import pytest

from .conftest import World


class JsonException(ValueError):
    """What System.Text.Json throws."""


Reader = Callable[[Any], Any]


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise JsonException(f"not a string: {value!r}")
    return value


def int32(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise JsonException(f"not an Int32: {value!r}")
    return value


def int64(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise JsonException(f"not an Int64: {value!r}")
    return value


def double(value: Any) -> float:
    if isinstance(value, str):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise JsonException(f"not a Double: {value!r}")
    return float(value)


def date_time(value: Any) -> datetime:
    """ISO 8601-1 as Utf8JsonReader.GetDateTime takes it."""
    match = re.fullmatch(
        r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,16}))?(Z|[+-]\d\d:\d\d)?", string(value)
    )
    if not match:
        raise JsonException(f"not a DateTime: {value!r}")
    return datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)


def nullable(reader: Reader) -> Reader:
    return lambda value: None if value is None else reader(value)


def dictionary(reader: Reader) -> Reader:
    def read(value: Any) -> Dict[str, Any]:
        if not isinstance(value, Pairs):
            raise JsonException("not an object")
        return {key: reader(inner) for key, inner in value}

    return read


class Pairs(List[Tuple[str, Any]]):
    """An object as it stands in the text, duplicates included."""


@dataclass
class Class:
    """A class with its properties: name as JSON has it (JsonPropertyName, or its own), reader."""

    properties: Dict[str, Tuple[str, Reader]]
    defaults: Dict[str, Any] = field(default_factory=dict)

    def __call__(self, value: Any) -> Dict[str, Any]:
        if not isinstance(value, Pairs):
            raise JsonException("not an object")
        found = dict.fromkeys(self.properties, None)
        found.update(self.defaults)
        for key, inner in value:
            for name, (written, reader) in self.properties.items():
                if written.lower() == key.lower():
                    found[name] = reader(inner)
        return found


def deserialize(text: str, reader: Reader) -> Any:
    def refuse(constant: str) -> Any:
        raise JsonException(f"not JSON: {constant}")

    return reader(json.loads(text, object_pairs_hook=Pairs, parse_constant=refuse))


#: The client's own classes. Property names are C#'s; JsonPropertyName where they differ by more
#: than case.
SERVICE_HEALTH = Class({
    "Status": ("Status", string),
    "LastHeartbeat": ("last_heartbeat", nullable(date_time)),
    "Interval": ("Interval", int32),
    "ConsecutiveFailures": ("consecutive_failures", int32),
})
HEALTH_STATUS = Class({
    "Services": ("Services", dictionary(SERVICE_HEALTH)),
    "OverallStatus": ("overall_status", string),
})
SERVICE_DETAIL = Class({
    "Service": ("Service", string),
    "Status": ("Status", string),
    "LastHeartbeat": ("last_heartbeat", nullable(date_time)),
    "Uptime": ("Uptime", nullable(string)),
    "TotalPulses": ("total_pulses", int64),
    "ErrorCount": ("error_count", int32),
})


def get_from_json(url: str, reader: Reader) -> Any:
    with urlopen(url) as answer:
        assert answer.headers.get_content_type() == "application/json"
        assert (answer.headers.get_content_charset() or "utf-8") == "utf-8"
        raw: bytes = answer.read()
    assert not raw.startswith(b"\xef\xbb\xbf")
    return deserialize(raw.decode("utf-8", "strict"), reader)


CONFIG = """
[heartbeat.services]
save_worker = { interval = 30, critical = true }
late = { interval = 1, critical = false }
never = { interval = 3600 }
"""


def test_the_client_reads_the_status_of_its_services(world: World) -> None:
    world.start(CONFIG)
    for _ in range(3):
        assert world.call("POST", "/api/pulse/save_worker")[0] == 202
    assert world.call("POST", "/api/pulse/late")[0] == 202
    world.wait_for("late", "is late", lambda it: it["status"] == "critical")
    answer = get_from_json(f"{world.url}/api/health/status", HEALTH_STATUS)
    services = answer["Services"]
    assert set(services) == {"save_worker", "late", "never"}
    worker = services["save_worker"]
    assert worker["Status"] == "healthy"
    assert worker["Interval"] == 30
    assert worker["ConsecutiveFailures"] == 0
    age = (datetime.now(timezone.utc) - worker["LastHeartbeat"]).total_seconds()
    assert -2 < age < 60
    assert services["late"]["Status"] == "critical"
    assert services["late"]["ConsecutiveFailures"] >= 5
    assert (services["never"]["Status"], services["never"]["LastHeartbeat"]) == ("unknown", None)
    assert answer["OverallStatus"] == "degraded", "what is not critical counts for no more"


def test_the_client_reads_one_service(world: World) -> None:
    world.start(CONFIG)
    for _ in range(3):
        assert world.call("POST", "/api/pulse/save_worker")[0] == 202
    assert world.call("POST", "/api/error/save_worker", {"message": "m"})[0] == 202
    world.wait_for("save_worker", "has counted", lambda it: it["total_pulses"] == 3)
    answer = get_from_json(f"{world.url}/api/health/service/save_worker", SERVICE_DETAIL)
    assert answer["Service"] == "save_worker"
    assert (answer["Status"], answer["TotalPulses"], answer["ErrorCount"]) == ("warning", 3, 1)
    assert isinstance(answer["Uptime"], str)


@pytest.mark.parametrize(("text", "status"), [
    ('{"services":{"a":{"status":"healthy"}}}', "healthy"),
    ('{"SERVICES":{"a":{"STATUS":"healthy"}}}', "healthy"),
    ('{"Services":{"a":{"Status":"late","status":"healthy","more":[1]}}}', "healthy"),
])
def test_this_reader_reads_as_those_rules_say(text: str, status: str) -> None:
    assert deserialize(text, HEALTH_STATUS)["Services"]["a"]["Status"] == status


@pytest.mark.parametrize("text", [
    '{"services":{"a":{"interval":30.0}}}', '{"services":{"a":{"interval":null}}}',
    '{"services":{"a":{"status":null}}}', '{"services":[]}', '{"services":{"a":{"interval":NaN}}}',
    '{"services":{"a":{"last_heartbeat":"yesterday"}}}',
])
def test_this_reader_refuses_what_those_rules_refuse(text: str) -> None:
    with pytest.raises(JsonException):
        deserialize(text, HEALTH_STATUS)
