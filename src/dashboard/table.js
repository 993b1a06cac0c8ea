// The table: a row per service, of which only those in sight exist.

import { $, attribute, h, icon, text } from "./dom.js";
import { address, go, state } from "./state.js";
import { age, remaining } from "./store.js";
import { sparkline, strip } from "./strips.js";
import { LEVELS, bytes, count, percent, span, ticking, when } from "./words.js";

/** Rows beyond the edges, so that scrolling finds them there. */
const MARGIN = 8;
const COLUMNS = 8;

export class Table {
  constructor(store, strips) {
    this.store = store;
    this.strips = strips;
    this.items = [];
    this.rows = new Map();
    this.frame = $("frame");
    this.body = $("rows");
    this.above = spacer();
    this.below = spacer();
    this.body.append(this.above, this.below);
    /** Who is reached by the Tab key. */
    this.active = null;
    this.height = 60;
    this.columns = COLUMNS;
    this.pending = false;
    this.frame.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(this.frame);
    this.body.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("focusin", (event) => {
      const name = event.target.closest("tr")?.dataset.name;
      if (name) this.activate(name);
    });
    this.body.addEventListener("click", (event) => {
      // The whole row opens; its link is for the keyboard and for new tabs.
      const row = event.target.closest("tr[data-name]");
      if (!row || event.target.closest("a, button") || !getSelection().isCollapsed) return;
      go({ service: row.dataset.name });
    });
  }

  measure() {
    const wanted = Number.parseFloat(getComputedStyle(this.frame).getPropertyValue("--row"));
    if (wanted > 0) this.height = wanted;
    // Columns go where there is no room; whatever spans all of them must span no more.
    const heads = [...this.frame.querySelectorAll("thead th")];
    this.columns = heads.filter((cell) => cell.offsetParent !== null).length || COLUMNS;
    for (const row of [this.above, this.below]) row.firstChild.colSpan = this.columns;
    this.soon();
  }

  /** Shows these: names, and headings of groups. */
  show(items) {
    this.items = items;
    attribute($("table"), "aria-rowcount", items.length + 1);
    this.soon();
  }

  soon() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.render();
    });
  }

  render() {
    const { items, height, frame } = this;
    const first = Math.max(0, Math.floor(frame.scrollTop / height) - MARGIN);
    const last = Math.min(items.length, Math.ceil((frame.scrollTop + frame.clientHeight) / height) + MARGIN);
    const held = this.body.contains(document.activeElement) ? document.activeElement.closest("tr") : null;
    const seen = new Set();
    let place = this.above;
    for (let at = first; at < last; at += 1) {
      const item = items[at];
      const key = typeof item === "string" ? item : ` ${item.title}`;
      seen.add(key);
      let row = this.rows.get(key);
      if (!row) {
        row = typeof item === "string" ? new Row(item) : new Heading(item);
        this.rows.set(key, row);
      }
      attribute(row.element, "aria-rowindex", at + 2);
      if (place.nextSibling !== row.element) place.after(row.element);
      place = row.element;
      this.update(row, item);
    }
    for (const [key, row] of this.rows) {
      if (seen.has(key)) continue;
      row.element.remove();
      this.rows.delete(key);
    }
    stretch(this.above, first * height);
    stretch(this.below, (items.length - last) * height);
    if (!this.active || !this.rows.has(this.active)) {
      const next = items.slice(first, last).find((item) => typeof item === "string");
      if (next) this.activate(next);
    }
    // What is moved in the tree loses the focus, what left it too.
    if (held && document.activeElement === document.body) {
      (held.isConnected ? held.querySelector("a") : frame)?.focus({ preventScroll: true });
    }
    this.strips.only(seen);
    if (items.length > 0 && !this.shown) {
      this.shown = true;
      // For whoever measures how soon there is something to see.
      performance.mark("rows");
    }
  }

  update(row, item) {
    if (typeof item !== "string") {
      row.update(item, this.columns);
      return;
    }
    const entry = this.store.get(item);
    if (entry) row.update(entry, this.strips.of(item, entry), item === state.service, item === this.active);
  }

  /** One of them has changed, if it is in sight. */
  changed(name) {
    const row = this.rows.get(name);
    if (row) this.update(row, name);
  }

  /** A second has passed. */
  tick() {
    const now = performance.now();
    for (const [name, row] of this.rows) {
      const entry = this.store.get(name);
      if (entry && row.tick) row.tick(entry, now);
    }
  }

  activate(name) {
    if (this.active === name) return;
    const before = this.rows.get(this.active);
    this.active = name;
    before?.link?.setAttribute("tabindex", "-1");
    this.rows.get(name)?.link?.setAttribute("tabindex", "0");
  }

  /** Moves the focus to that place of the list, and the list with it. */
  focus(at) {
    const step = at < this.items.indexOf(this.active) ? -1 : 1;
    while (this.items[at] !== undefined && typeof this.items[at] !== "string") at += step;
    const name = this.items[at];
    if (typeof name !== "string") return;
    const top = at * this.height;
    const head = this.frame.querySelector("thead").offsetHeight;
    const { scrollTop, clientHeight } = this.frame;
    if (top < scrollTop) this.frame.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight - head) {
      this.frame.scrollTop = top + this.height - clientHeight + head;
    }
    this.render();
    this.activate(name);
    this.rows.get(name)?.link.focus({ preventScroll: true });
  }

  focusActive() {
    const at = this.items.indexOf(this.active);
    this.focus(at < 0 ? 0 : at);
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const at = this.items.indexOf(this.active);
    const page = Math.max(1, Math.floor(this.frame.clientHeight / this.height) - 1);
    const last = this.items.length - 1;
    const to = {
      ArrowDown: Math.min(last, at + 1),
      j: Math.min(last, at + 1),
      ArrowUp: Math.max(0, at - 1),
      k: Math.max(0, at - 1),
      PageDown: Math.min(last, at + page),
      PageUp: Math.max(0, at - page),
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.focus(to);
  }
}

function spacer() {
  const cell = h("td", { colspan: COLUMNS, role: "presentation" });
  return h("tr", { class: "spacer", role: "presentation", "aria-hidden": "true" }, cell);
}

function stretch(row, height) {
  const wanted = `${height}px`;
  const { style } = row.firstChild;
  if (style.height !== wanted) style.height = wanted;
  row.hidden = height === 0;
}

class Heading {
  constructor() {
    this.cell = h("th", { scope: "rowgroup", role: "rowheader" });
    this.element = h("tr", { class: "group", role: "row" }, this.cell);
  }

  update({ title, level, size }, columns) {
    if (this.cell.colSpan !== columns) this.cell.colSpan = columns;
    const key = `${title} ${level} ${size}`;
    if (this.key === key) return;
    this.key = key;
    this.cell.replaceChildren(icon(level), h("span", { class: "title" }, title), h("span", { class: "sub" }, count(size, "service")));
  }
}

class Row {
  constructor(name) {
    this.name = name;
    this.link = h("a", { href: address({ service: name }), tabindex: "-1" }, name);
    this.level = h("span", { class: "level" });
    this.state = h("span", { class: "sub" });
    this.why = h("div", { class: "why" });
    this.tags = h("span", { class: "tags" });
    this.age = h("span", { class: "age" });
    this.soon = h("span", { class: "sub soon" });
    this.every = h("span", { class: "sub" });
    this.strip = cell("strip");
    this.up = cell("up");
    this.spark = cell("spark");
    this.restarts = h("span");
    this.next = h("span", { class: "sub" });
    this.pid = h("span");
    this.memory = h("span", { class: "sub" });
    this.element = h(
      "tr",
      { role: "row", "data-name": name },
      cell("level", this.level, this.state),
      h("th", { class: "c-name", scope: "row", role: "rowheader" }, h("div", { class: "name" }, this.link, this.tags), this.why),
      cell("pulse", this.age, this.soon, this.every),
      this.strip,
      this.up,
      this.spark,
      cell("restarts", this.restarts, this.next),
      cell("proc", this.pid, this.memory),
    );
  }

  update(entry, known, selected, active) {
    attribute(this.element, "aria-current", selected ? "true" : null);
    attribute(this.link, "tabindex", active ? "0" : "-1");
    const href = address({ service: this.name });
    attribute(this.link, "href", href);
    if (this.rev !== entry.rev) this.draw(entry);
    if (this.known !== known) {
      this.known = known;
      this.tick(entry, performance.now());
      this.strip.replaceChildren(strip(known?.cells));
      this.up.replaceChildren(...uptimes(known?.uptime));
      this.spark.replaceChildren(sparkline(known?.rhythm ?? [], "time between pulses in the last hour"));
    }
  }

  draw(entry) {
    const { data } = entry;
    this.rev = entry.rev;
    const level = LEVELS[entry.rank];
    if (this.shown !== level) {
      this.shown = level;
      this.element.dataset.level = level;
      this.level.replaceChildren(icon(level), level);
    }
    const why = data.reason || foreseen(data) || data.message || "";
    text(this.why, why);
    attribute(this.why, "title", why || null);
    const tags = (data.tags ?? []).join("\n");
    if (this.tagged !== tags) {
      this.tagged = tags;
      this.tags.replaceChildren(...(data.tags ?? []).map((tag) => h("span", { class: "tag" }, tag)));
    }
    text(this.every, promise(data));
    text(this.restarts, data.restarts > 0 ? data.restarts.toLocaleString("en") : "–");
    text(this.pid, data.pid == null ? "–" : String(data.pid));
    text(this.memory, data.memory == null ? "" : bytes(data.memory));
    this.tick(entry, performance.now());
  }

  tick(entry, now) {
    const seconds = age(entry, now);
    text(this.age, lives(entry.data) ? "now" : seconds === null ? "never" : `${ticking(seconds)} ago`);
    const [start, pause] = upcoming(entry, now);
    text(this.next, start && `next ${start}`);
    // Where there is no room for restarts the start is told here.
    text(this.soon, pause ? `back ${pause}` : start && `starts ${start}`);
    attribute(this.soon, "data-start", start ? "" : null);
    const { state } = entry.data;
    const special = ["running", "external"].includes(state) ? "" : state;
    // Since when, where it matters and is known: seen here, or told by its last events.
    const since = entry.rank < 3 && !special ? (entry.since ?? this.known?.since) : null;
    text(this.state, since == null ? special : `for ${ticking((now - since) / 1000)}`);
  }
}

function cell(name, ...children) {
  return h("td", { class: `c-${name}`, role: "cell" }, ...children);
}

function uptimes(uptime) {
  if (!uptime || Object.values(uptime).every((share) => share === null)) return [h("span", { class: "none" }, "–")];
  const shown = (share) => h("span", { class: share != null && share < 0.99 ? "low" : null }, percent(share));
  return [h("span", { class: "up" }, ...["24h", "7d", "30d"].map((key) => shown(uptime[key])))];
}

/** What its rhythm foretells. */
export function foreseen(data) {
  if (data.predicted_miss_at) return `slowing down: going on like this it is late at ${when(data.predicted_miss_at)}`;
  if (data.trend === "erring") return "reports errors more often than it used to";
  return data.trend === "hurrying" ? "pulses more than twice as often as it used to" : "";
}

/** Whether it pulses by living: its age is always none, and no news says so. */
export function lives(data) {
  return data.interval == null && data.interval_source !== "learning" && data.pid != null && data.age === 0;
}

/** What a service promises. */
export function promise(data) {
  if (data.interval_source === "learning") return "being learnt";
  if (data.interval != null) return `every ${span(data.interval)}${data.interval_source === "learnt" ? " (learnt)" : ""}`;
  if (lives(data)) return "while it runs";
  return data.state === "external" ? "on demand" : "";
}

/** What is about to happen, if something is: the next start, and the end of a pause. */
export function upcoming(entry, now) {
  const { data } = entry;
  const start = remaining(entry, data.next_start_in, now);
  const pause = remaining(entry, data.paused_for, now);
  return [
    start === null ? "" : start > 0 ? `in ${ticking(start + 0.999)}` : "now",
    pause === null ? "" : `in ${ticking(pause)}`,
  ];
}
