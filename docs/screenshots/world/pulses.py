"""Pulses of the pictures' world that come from elsewhere; some stop once `trouble` is there."""

import json
import os
import random
import sys
import time
import urllib.request

url = sys.argv[1]
EVERY = {"crawler": 4, "agent-ines": 14, "agent-omar": 14, "agent-ruth": 14, "mailer": 8, "invoices": 45}
SILENT = {"crawler": 240, "agent-omar": 92, "mailer": 16}
changes = {name: 400 + n for n, name in enumerate(["agent-ines", "agent-omar", "agent-ruth"])}


def pulse(name: str, body: dict) -> None:
    request = urllib.request.Request(f"{url}/api/pulse/{name}", json.dumps(body).encode(), method="POST")
    try:
        urllib.request.urlopen(request, timeout=5).read()
    except OSError as error:
        print(error, file=sys.stderr)


pulse("backup-nightly", {"message": "14.2 GB written"})
due = dict.fromkeys(EVERY, 0.0)
while True:
    now = time.monotonic()
    for name, every in EVERY.items():
        silent = SILENT.get(name)
        # How many seconds before the picture it falls silent stands in the file.
        if silent and os.path.exists("trouble") and time.time() > float(open("trouble").read()) - silent:
            continue
        if now < due[name]:
            continue
        due[name] = now + every * random.uniform(0.97, 1.03)
        body = {}
        if name in changes:
            changes[name] += random.random() < 0.2
            body = {
                "message": f"reviewing change {changes[name]}",
                "metrics": {"tokens": random.randint(2000, 5000), "open": random.randint(0, 3)},
            }
        pulse(name, body)
    time.sleep(0.2)
