"""A service of the pictures' world: takes some memory, pulses, and fails when it is to."""

import argparse
import json
import os
import random
import sys
import time
import urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("--every", type=float, default=2)
parser.add_argument("--megabytes", type=int, default=20)
parser.add_argument("--figure")
parser.add_argument("--message")
parser.add_argument("--crashes", action="store_true", help="a moment after each start")
parser.add_argument("--dies", action="store_true", help="after a minute")
wanted = parser.parse_args()

service = os.environ["SUPERVISOR_SERVICE"]
url = f"{os.environ['SUPERVISOR_URL']}/api/pulse/{service}"
token = os.environ["SUPERVISOR_TOKEN"]
ballast = bytearray(wanted.megabytes * 1_000_000)
started = time.monotonic()
while True:
    body = {}
    if wanted.message:
        body["message"] = wanted.message
    if wanted.figure:
        name, _, reach = wanted.figure.partition("=")
        low, high = map(int, reach.split("-"))
        body["metrics"] = {name: random.randint(low, high)}
        print(f"{name} {body['metrics'][name]}", flush=True)
    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
    request.add_header("Authorization", f"Bearer {token}")
    try:
        urllib.request.urlopen(request, timeout=5).read()
    except OSError as error:
        print(f"pulse failed: {error}", flush=True)
    time.sleep(wanted.every * random.uniform(0.95, 1.05))
    if os.path.exists("trouble"):
        age = time.monotonic() - started
        if wanted.crashes:
            sys.exit("cannot open /dev/video0: no such device")
        if wanted.dies and age > 60:
            sys.exit(3)
