// Parts of the page that need no browser.

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const part = (name) => import(pathToFileURL(`${process.argv[2]}/${name}`));
const { Frames } = await part("feed.js");
const { cellsIn, cellsOf } = await part("strips.js");
const { Store, age } = await part("store.js");
const { bytes, percent, sentence, span, ticking } = await part("words.js");

// A stream is the same wherever its pieces are cut.
const stream = 'id: 7\r\nevent: snapshot\r\ndata: {"a":\r\ndata: 1}\r\n\r\n: beat\n\nevent: bye\ndata: {}\n\ndata:x\n\nid: 9\n';
const whole = [
  { id: "7", event: "snapshot", data: '{"a":\n1}' },
  { id: null, event: "bye", data: "{}" },
  { id: null, event: "message", data: "x" },
];
for (let cut = 0; cut <= stream.length; cut += 1) {
  const seen = [];
  const frames = new Frames((frame) => seen.push(frame));
  frames.push(stream.slice(0, cut));
  frames.push(stream.slice(cut));
  assert.deepEqual(seen, whole, `cut at ${cut}`);
}

// The last hour from its changes: the worst of each minute, and what it was before the first.
const now = Date.parse("2026-01-02T18:30:30Z");
const change = (time, from, to) => ({ kind: "level", time, from, to });
const quiet = cellsOf([{ kind: "started", time: "2026-01-02T18:29:00Z" }], "healthy", now);
assert.deepEqual(new Set(quiet), new Set(["healthy"]));
assert.equal(quiet.length, 60);
const cells = cellsOf(
  [change("2026-01-02T18:10:00Z", "healthy", "critical"), change("2026-01-02T18:10:20Z", "critical", "healthy")],
  "healthy",
  now,
);
assert.equal(cells.filter((cell) => cell === "critical").length, 1);
assert.equal(cells.filter((cell) => cell === "healthy").length, 59);
assert.equal(cells[59], "healthy");
assert.equal(cells[59 - 20], "critical");

// The same from where it is recorded: what is not known stays empty.
const levels = { healthy: 0, warning: 0, degraded: 0, critical: 0, unknown: 0 };
const recorded = {
  from: "2026-01-02T18:00:00Z",
  to: "2026-01-02T18:05:00Z",
  step: 60,
  points: [
    { time: "2026-01-02T18:00:00Z", levels: { ...levels, healthy: 60 } },
    { time: "2026-01-02T18:02:00Z", levels: { ...levels, healthy: 50, degraded: 10 } },
    { time: "2026-01-02T18:03:00Z", levels: { ...levels, unknown: 60 } },
  ],
};
assert.deepEqual(cellsIn(recorded, "warning"), ["healthy", null, "degraded", "unknown", "warning"]);

// Problems first, by name within a level, and only who is asked for.
const store = new Store();
const service = (name, status, more) => ({ name, status, state: "running", reason: "", tags: [], age: 1, critical: true, ...more });
store.replace([
  service("b", "healthy", { tags: ["night"] }),
  service("a", "healthy"),
  service("c", "critical", { reason: "disk full" }),
  service("internal.archive", "healthy"),
  service("z", "warning", { tags: ["night"] }),
]);
const list = (asked) => store.list({ q: "", levels: new Set(), tag: "", group: "", internal: false, ...asked });
assert.deepEqual(list(), ["c", "z", "a", "b"]);
assert.deepEqual(list({ internal: true }).at(-1), "internal.archive");
assert.deepEqual(list({ q: "DISK" }), ["c"]);
assert.deepEqual(list({ tag: "night" }), ["z", "b"]);
assert.deepEqual(list({ levels: new Set(["healthy"]) }), ["a", "b"]);
assert.deepEqual(
  list({ group: "tag" }).map((item) => item.title ?? item),
  ["no tag", "c", "a", "night", "z", "b"],
);
assert.equal(sentence(store.counts()), "1 critical, 1 warning, 2 healthy");
assert.equal(store.worst(), "critical");
store.put(service("c", "critical", { critical: false }));
assert.equal(store.worst(), "degraded");
store.put(service("internal.archive", "critical"));
assert.equal(store.counts().critical, 2, "we count when something is wrong with us");
store.remove("c");
assert.deepEqual(list({ levels: new Set(["critical"]) }), ["internal.archive"]);
assert.ok(age(store.get("a"), performance.now() + 5_000) > 5.9);

assert.deepEqual([0.05, 9.99, 12.7, 130, 11_100, 216_000].map(span), ["0 s", "9.9 s", "12 s", "2 min 10 s", "3 h 5 min", "2 d 12 h"]);
assert.deepEqual([3, 119.9, 120, 8_000, null].map(ticking), ["3 s", "119 s", "2 min", "2 h", "–"]);
assert.deepEqual([1, 0.99999, 0.5, null].map(percent), ["100 %", "99.99 %", "50.0 %", "–"]);
assert.deepEqual([12, 1_234, 12_400_000].map(bytes), ["12 B", "1.2 kB", "12 MB"]);
assert.equal(sentence({ healthy: 41 }), "All 41 healthy");
assert.equal(sentence({}), "No services are watched yet");
process.stdout.write("done\n");
