// What is known of the services, and which of them are wanted in which order.

import { LEVELS, rank } from "./words.js";

export class Store {
  constructor() {
    /** By name: `{data, rank, own, words, seen, since, rev}`. */
    this.entries = new Map();
    this.names = [];
    this.sorted = true;
    this.overall = "unknown";
    this.told = null;
    this.rev = 0;
  }

  /** Everything anew; what is unchanged keeps its entry. */
  replace(services, overall) {
    const now = performance.now();
    const left = new Set(this.entries.keys());
    for (const data of services) {
      left.delete(data.name);
      this.put(data, now);
    }
    for (const name of left) this.remove(name);
    this.told = overall ?? null;
  }

  put(data, now = performance.now()) {
    let entry = this.entries.get(data.name);
    if (!entry) {
      entry = { own: data.name.startsWith("internal."), gaps: [] };
      this.entries.set(data.name, entry);
      this.names.push(data.name);
      this.sorted = false;
    }
    this.rev += 1;
    entry.data = data;
    entry.rank = rank(data.status);
    entry.rev = this.rev;
    entry.words = null;
    // Ages are said relative to now, which is ours: no clock needs to agree with another.
    entry.at = now;
    return entry;
  }

  remove(name) {
    if (this.entries.delete(name)) this.names = this.names.filter((known) => known !== name);
  }

  get(name) {
    return this.entries.get(name);
  }

  /** How many of each level, without ourselves unless something is wrong with us. */
  counts() {
    const counts = Object.fromEntries(LEVELS.map((level) => [level, 0]));
    for (const entry of this.entries.values()) {
      if (!entry.own || entry.rank < 3) counts[LEVELS[entry.rank]] += 1;
    }
    return counts;
  }

  /** The worst that counts (DESIGN 3): as we are told, or by the same rule. */
  worst() {
    if (this.told) return this.told;
    let worst = 4;
    let known = false;
    for (const { data, rank: at } of this.entries.values()) {
      if (at === 3) continue;
      known = true;
      worst = Math.min(worst, at === 0 && data.critical === false ? 1 : at);
    }
    return known ? LEVELS[worst] : "unknown";
  }

  tags() {
    const tags = new Set();
    for (const { data } of this.entries.values()) for (const tag of data.tags ?? []) tags.add(tag);
    return [...tags].sort();
  }

  /** Who is wanted, problems first, by name within a level; groups get a heading. */
  list({ q, levels, tag, group, internal }) {
    if (!this.sorted) {
      this.names.sort((a, b) => (a < b ? -1 : 1));
      this.sorted = true;
    }
    const wanted = q.toLowerCase().split(/\s+/).filter(Boolean);
    const buckets = LEVELS.map(() => []);
    for (const name of this.names) {
      const entry = this.entries.get(name);
      if (entry.own && !internal && entry.rank >= 3) continue;
      if (levels.size > 0 && !levels.has(LEVELS[entry.rank])) continue;
      if (tag && !entry.data.tags?.includes(tag)) continue;
      if (wanted.length > 0) {
        entry.words ??= [name, entry.data.state, entry.data.reason, ...(entry.data.tags ?? [])].join(" ").toLowerCase();
        if (!wanted.every((word) => entry.words.includes(word))) continue;
      }
      buckets[entry.rank].push(name);
    }
    if (!group) return buckets.flat();
    const items = [];
    const add = (title, level, names) => {
      if (names.length > 0) items.push({ title, level, size: names.length }, ...names);
    };
    if (group === "level") {
      buckets.forEach((names, at) => add(LEVELS[at], LEVELS[at], names));
      return items;
    }
    const groups = new Map();
    for (const name of buckets.flat()) {
      const key = this.entries.get(name).data.tags?.[0] ?? "";
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(name);
    }
    // Whoever has the worst comes first; the untagged last among equals.
    const worst = (names) => this.entries.get(names[0]).rank;
    const order = [...groups].sort(
      ([a, x], [b, y]) => worst(x) - worst(y) || (a === "") - (b === "") || (a < b ? -1 : 1),
    );
    for (const [key, names] of order) add(key || "no tag", LEVELS[worst(names)], names);
    return items;
  }
}

/** Seconds since the last pulse, now. */
export function age(entry, now = performance.now()) {
  return entry.data.age == null ? null : entry.data.age + (now - entry.at) / 1000;
}

/** Seconds until something that was announced as so many seconds. */
export function remaining(entry, seconds, now = performance.now()) {
  return seconds == null ? null : Math.max(0, seconds - (now - entry.at) / 1000);
}
