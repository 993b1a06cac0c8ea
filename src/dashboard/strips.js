// The last hour of a service in 60 cells, its uptime and its rhythm: asked for when its row is
// seen, a few at a time, and kept for a while.

import { get, part } from "./api.js";
import { LEVELS } from "./words.js";
import { s, h } from "./dom.js";

const MINUTES = 60;
const KEEP = 60_000;
const AT_ONCE = 4;

/** How high a cell of each level stands: what is wrong stands out without its colour, too. */
const HEIGHT = { critical: 16, degraded: 13, warning: 10, healthy: 6, unknown: 2 };

export class Strips {
  /** `changed(name)` is called when there is something new to show. */
  constructor(changed, who) {
    this.changed = changed;
    this.who = who;
    this.known = new Map();
    this.queue = new Map();
    this.busy = 0;
  }

  /** What is known; asks for it where it is missing or old. */
  of(name, entry) {
    const known = this.known.get(name);
    const now = performance.now();
    if (!known || now - known.at > KEEP || known.stale) this.queue.set(name, entry);
    this.work();
    return known;
  }

  /** Nobody looks at the others any more. */
  only(names) {
    for (const name of this.queue.keys()) if (!names.has(name)) this.queue.delete(name);
  }

  /** A level has changed: what is drawn is not true any more. */
  touch(name) {
    const known = this.known.get(name);
    if (known) known.stale = true;
  }

  /** It is watched no longer. */
  drop(name) {
    this.known.delete(name);
    this.queue.delete(name);
  }

  work() {
    while (this.busy < AT_ONCE && this.queue.size > 0) {
      const [name, entry] = this.queue.entries().next().value;
      this.queue.delete(name);
      this.busy += 1;
      this.load(name, entry)
        .catch(() => {
          // Shown as nothing known; asked again when it is old.
          this.known.set(name, { at: performance.now(), cells: null, uptime: null, rhythm: null });
        })
        .finally(() => {
          this.busy -= 1;
          this.changed(name);
          this.work();
        });
    }
    // What nobody has looked at for long goes, so that ten thousand rows cost no more.
    if (this.known.size > 2000) {
      for (const name of this.known.keys()) {
        if (this.known.size <= 1000) break;
        this.known.delete(name);
      }
    }
  }

  /** From the history; since when, only of who is not well. */
  async recorded(name, entry) {
    const troubled = entry.rank < 3;
    const [history, page] = await Promise.all([
      get(`/api/history/${part(name)}?from=1h&step=1m`),
      troubled ? get(`/api/events?service=${part(name)}&limit=50`) : { events: [] },
    ]);
    const rhythm = history.points.map((point) => point.gap?.mean ?? null);
    const cells = cellsIn(history, entry.data.status).slice(-MINUTES);
    return { cells, since: sinceOf(page.events), uptime: history.uptime, rhythm };
  }

  /** Without one, from the changes of the last hour. */
  async told(name, entry) {
    const { events } = await get(`/api/events?service=${part(name)}&since=1h&limit=1000`);
    const cells = cellsOf(events, entry.data.status, Date.now());
    return { cells, since: sinceOf(events), uptime: null, rhythm: null };
  }

  async load(name, entry) {
    const known = this.who.offers.includes("history") ? await this.recorded(name, entry) : await this.told(name, entry);
    this.known.delete(name);
    this.known.set(name, { at: performance.now(), ...known });
  }
}

/**
 * The worst level of each step, from where it is recorded; null where nothing is known. The
 * last is not over yet: it is at least as bad as the present level.
 */
export function cellsIn({ points, from, to, step }, present) {
  const begin = new Date(from).getTime() / 1000;
  const cells = new Array(Math.max(1, Math.round((new Date(to).getTime() / 1000 - begin) / step))).fill(null);
  for (const point of points) {
    const at = Math.round((new Date(point.time).getTime() / 1000 - begin) / step);
    const level = LEVELS.find((name) => name !== "unknown" && name !== "healthy" && point.levels[name] > 0);
    if (at >= 0 && at < cells.length) cells[at] = level ?? (point.levels.healthy > 0 ? "healthy" : "unknown");
  }
  const last = cells.length - 1;
  if (present && (cells[last] === null || LEVELS.indexOf(present) < LEVELS.indexOf(cells[last]))) cells[last] = present;
  return cells;
}

/**
 * The worst level of each of the last 60 minutes, from the changes within them. Before the
 * first change it was what that one came from; without any it has been what it is.
 */
export function cellsOf(events, present, now) {
  const changes = events
    .filter((event) => event.kind === "level" && event.to)
    .map((event) => ({ at: (now - new Date(event.time).getTime()) / 60_000, from: event.from, to: event.to }));
  const cells = new Array(MINUTES).fill(null);
  const paint = (older, younger, level) => {
    const first = Math.max(0, MINUTES - 1 - Math.floor(Math.min(older, MINUTES - 0.001)));
    const last = MINUTES - 1 - Math.floor(Math.max(0, younger));
    for (let at = first; at <= last && at < MINUTES; at += 1) {
      if (cells[at] === null || LEVELS.indexOf(level) < LEVELS.indexOf(cells[at])) cells[at] = level;
    }
  };
  let since = MINUTES;
  let level = changes[0]?.from ?? (changes.length > 0 ? null : present);
  for (const change of changes) {
    if (level) paint(since, change.at, level);
    since = change.at;
    level = change.to;
  }
  if (level) paint(since, 0, level);
  return cells;
}

/** When the level changed last, relative to now, as ages are. */
function sinceOf(events) {
  const last = events.findLast((event) => event.kind === "level");
  return last ? performance.now() - (Date.now() - new Date(last.time).getTime()) : null;
}

/** The cells as a picture, with words for those who do not see it. */
export function strip(cells, over = "the last hour", each = "min") {
  if (!cells) return h("span", { class: "none" }, "–");
  const paths = LEVELS.map((level) => {
    const bars = cells.map((cell, at) => (cell === level ? `M${at * 3 + 1} 16v-${HEIGHT[level]}` : "")).join("");
    return bars && s("path", { class: `cell ${level}`, d: bars });
  });
  const label = `${over}: ${told(cells, each)}`;
  return s(
    "svg",
    { class: "strip", viewBox: `0 0 ${cells.length * 3} 16`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    // What is not known is a thin line, so that it is seen to be missing.
    s("path", { class: "base", d: `M0 15.5H${cells.length * 3}` }),
    ...paths.filter(Boolean),
  );
}

/** "healthy 57 min, critical 3 min". */
export function told(cells, each = "min") {
  const counts = new Map();
  for (const cell of cells) counts.set(cell ?? "no data", (counts.get(cell ?? "no data") ?? 0) + 1);
  return [...counts].map(([level, steps]) => `${level} ${steps} ${each}`).join(", ");
}

/** A small line of figures. */
export function sparkline(values, label) {
  const known = values.filter((value) => value != null);
  if (known.length < 2) return h("span", { class: "none" }, "–");
  // What is as ever lies in the middle, and what is not has room.
  const most = Math.max(...known) * 1.6;
  const least = Math.min(0, ...known);
  const x = (at) => ((at / (values.length - 1)) * 88 + 1).toFixed(1);
  const y = (value) => (17 - ((value - least) / (most - least || 1)) * 15).toFixed(1);
  let path = "";
  let pen = "M";
  values.forEach((value, at) => {
    if (value == null) pen = "M";
    else {
      path += `${pen}${x(at)} ${y(value)}`;
      pen = "L";
    }
  });
  // Single values make no line.
  if (!path.includes("L")) return h("span", { class: "none" }, "–");
  return s(
    "svg",
    { class: "spark", viewBox: "0 0 90 18", preserveAspectRatio: "none", role: "img", "aria-label": label },
    s("path", { d: path }),
  );
}
