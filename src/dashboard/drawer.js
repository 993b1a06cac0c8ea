// One service: why it is as it is, and what can be done about it.

import { act, acknowledge, sensible, toast } from "./actions.js";
import { get, onSignedOut, open, part } from "./api.js";
import { chart } from "./chart.js";
import { $, attribute, coalesce, h, icon, text } from "./dom.js";
import { address, go, state } from "./state.js";
import { age } from "./store.js";
import { cellsIn, strip } from "./strips.js";
import { foreseen, lives, promise, upcoming } from "./table.js";
import { LEVELS, bytes, count, figure, percent, span, ticking, when } from "./words.js";

const TABS = [
  ["overview", "Overview"],
  ["events", "Events"],
  ["runs", "Runs"],
  ["log", "Log"],
  ["config", "Configuration"],
  ["connect", "Connect"],
];
/** How far back charts reach. */
const RANGES = [
  ["1h", "1 hour"],
  ["24h", "24 hours"],
  ["7d", "7 days"],
  ["30d", "30 days"],
];
/** Lines of a log that are kept on the page, and characters, for a line may never end. */
const MOST_LINES = 2000;
const MOST_CHARACTERS = 1_000_000;
/** How long nobody sees the page before it gives back the connection that its log takes. */
const UNSEEN = 30_000;

export class Drawer {
  /** `who` says whether somebody is signed in and has `signIn()`. */
  constructor(store, who, alerts) {
    this.store = store;
    this.who = who;
    this.alerts = alerts;
    this.element = $("drawer");
    this.name = null;
    this.pane = null;
    this.back = null;
    this.redraw = coalesce(() => this.draw(), 250);
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !$("dialog").open) {
        event.stopPropagation();
        this.close();
      }
    });
    onSignedOut(() => this.draw());
  }

  /** Follows the address. */
  follow() {
    const name = state.service;
    if (!name) {
      this.hide();
      return;
    }
    if (name !== this.name) this.open(name);
    else if (state.tab !== this.tab) this.choose(state.tab);
  }

  close() {
    go({ service: "", tab: "" });
  }

  hide() {
    if (this.name === null) return;
    this.leave();
    this.name = null;
    this.element.hidden = true;
    this.element.replaceChildren();
    document.body.classList.remove("with-drawer");
    this.back?.();
  }

  open(name) {
    if (this.name === null) {
      const before = document.activeElement;
      this.back = () => (before?.isConnected && before !== document.body ? before : $("frame"))?.focus({ preventScroll: true });
    }
    this.leave();
    this.name = name;
    this.title = h("h2", { id: "drawer-title", tabindex: "-1" }, name);
    this.badge = h("span", { class: "level" });
    this.lead = h("p", { class: "lead" });
    this.sub = h("p", { class: "sub ticking" });
    this.actions = h("div", { class: "actions" });
    this.tabs = TABS.map(([key, words]) =>
      h(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${key}`,
          "aria-controls": "pane",
          onclick: () => go({ tab: key }, true),
          onkeydown: (event) => this.turn(event, key),
        },
        words,
      ),
    );
    this.place = h("div", { id: "pane", role: "tabpanel", tabindex: "0" });
    this.element.replaceChildren(
      h(
        "header",
        {},
        h(
          "div",
          { class: "title" },
          this.badge,
          this.title,
          h("button", { type: "button", class: "quiet icon-only", onclick: () => this.close(), title: "Close (Esc)" }, icon("close"), h("span", { class: "sr" }, "Close")),
        ),
        this.lead,
        this.sub,
        this.actions,
        h("div", { class: "tabs", role: "tablist", "aria-label": `Of ${name}` }, ...this.tabs),
      ),
      this.place,
    );
    this.element.hidden = false;
    document.body.classList.add("with-drawer");
    this.offered = null;
    this.since = null;
    this.draw();
    this.look();
    this.choose(state.tab);
    this.title.focus({ preventScroll: true });
  }

  turn(event, key) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = TABS.findIndex(([known]) => known === key) + step;
    const [next] = TABS.at(at % TABS.length);
    go({ tab: next }, true);
    $(`tab-${next}`).focus();
  }

  leave() {
    this.pane?.leave?.();
    this.pane = null;
  }

  choose(key) {
    this.leave();
    this.tab = key;
    TABS.forEach(([known], at) => {
      attribute(this.tabs[at], "aria-selected", String(known === key));
      attribute(this.tabs[at], "tabindex", known === key ? "0" : "-1");
    });
    attribute(this.place, "aria-labelledby", `tab-${key}`);
    this.place.className = `pane ${key}`;
    const panes = { overview: Overview, events: Events, runs: Runs, log: Log, config: Config, connect: Connect };
    const pane = Object.hasOwn(panes, key) ? panes[key] : Overview;
    this.place.replaceChildren();
    this.pane = new pane(this.place, this.name, this);
    const entry = this.store.get(this.name);
    if (entry) this.pane.draw?.(entry);
  }

  /** Something of a service has changed. */
  changed(name) {
    if (name === this.name) this.redraw();
  }

  heard(event) {
    if (event.service !== this.name) return;
    if (event.kind === "level") this.since = event.time;
    this.pane?.heard?.(event);
  }

  /** Something may have happened that was not told. */
  anew() {
    if (this.name === null) return;
    this.since = null;
    this.look();
    this.pane?.load?.();
  }

  /** Since when it is as it is. */
  async look() {
    const { name } = this;
    try {
      const { events } = await get(`/api/events?service=${part(name)}&limit=100`);
      if (this.name !== name) return;
      this.since ??= events.findLast((event) => event.kind === "level")?.time ?? null;
      this.tick();
    } catch {
      // Then it is not said.
    }
  }

  tick() {
    const entry = this.name && this.store.get(this.name);
    if (!entry) return;
    const seconds = age(entry);
    const since = this.since && (Date.now() - new Date(this.since).getTime()) / 1000;
    const [start, pause] = upcoming(entry, performance.now());
    const promised = promise(entry.data);
    const pulses = {
      "while it runs": "it pulses by living",
      "on demand": "it pulses on demand",
      "being learnt": "its interval is being learnt",
      "": "",
    };
    const parts = [
      since && `${LEVELS[entry.rank]} for ${span(Math.max(0, since))}`,
      lives(entry.data) ? "" : seconds === null ? "no pulse yet" : `last pulse ${ticking(seconds)} ago`,
      pulses[promised] ?? `expected ${promised}`,
      start && `next start ${start}`,
      pause && `back ${pause}`,
    ];
    text(this.sub, parts.filter(Boolean).join(" · "));
    this.pane?.tick?.(entry);
  }

  draw() {
    if (this.name === null) return;
    const entry = this.store.get(this.name);
    if (!entry) {
      text(this.lead, this.store.entries.size > 0 ? "There is no service of this name." : "…");
      this.actions.replaceChildren();
      this.offered = null;
      return;
    }
    const { data } = entry;
    const level = LEVELS[entry.rank];
    if (this.element.dataset.level !== level || !this.badge.firstChild) {
      this.element.dataset.level = level;
      this.badge.replaceChildren(icon(level), level);
    }
    const word = data.state === "running" || data.state === "external" ? "" : `${data.state}: `;
    text(this.lead, `${word}${data.reason || foreseen(data) || data.message || (level === "healthy" ? "all is well" : "nothing more is known")}`);
    this.offer(entry);
    this.tick();
    this.pane?.draw?.(entry);
  }

  offer(entry) {
    const offers = sensible(entry.data);
    const alert = this.alerts.of(this.name);
    const key = JSON.stringify([offers, this.who.signedIn, alert?.id, alert?.state]);
    if (this.offered === key) return;
    this.offered = key;
    if (!this.who.signedIn) {
      this.actions.replaceChildren(
        h("button", { type: "button", class: "primary", onclick: () => this.who.signIn() }, "Sign in to act"),
      );
      return;
    }
    const buttons = offers.map(({ verb, words, danger, primary }) =>
      h(
        "button",
        {
          type: "button",
          class: primary ? "primary" : danger ? "careful" : null,
          "data-verb": verb,
          onclick: () => act(this.store.get(this.name) ?? entry, verb),
        },
        words,
      ),
    );
    if (alert && alert.state !== "acknowledged") {
      buttons.unshift(
        h("button", { type: "button", class: "primary", "data-verb": "ack", onclick: () => acknowledge(alert, () => this.alerts.reload()) }, "Take the alert …"),
      );
    }
    this.actions.replaceChildren(...buttons);
  }
}

/** What went wrong while something was read. */
function trouble(place, error, again, drawer) {
  if (error.name === "AbortError") return;
  const locked = error.status === 401;
  place.replaceChildren(
    h(
      "div",
      { class: "empty" },
      h("p", {}, locked ? "This may hold secrets: sign in to see it." : error.message),
      locked
        ? h("button", { type: "button", class: "primary", onclick: () => drawer.who.signIn() }, "Sign in")
        : h("button", { type: "button", onclick: again }, "Try again"),
    ),
  );
}

// === Overview ===

class Overview {
  constructor(place, name, drawer) {
    this.place = place;
    this.name = name;
    this.drawer = drawer;
    this.facts = h("dl", { class: "facts" });
    this.charts = h("div", { class: "charts" });
    this.metrics = h("div");
    this.undo = [];
    this.plotted = -Infinity;
    this.ranges = h("div", { class: "ranges", role: "group", "aria-label": "How far back" });
    place.replaceChildren(this.charts, this.facts, this.metrics);
    this.plot();
  }

  leave() {
    for (const undo of this.undo) undo();
    this.undo = [];
  }

  /** How far back is shown. */
  choice() {
    this.ranges.replaceChildren(
      ...RANGES.map(([range, words]) =>
        h("button", { type: "button", class: "quiet small", "aria-pressed": String(range === state.range), onclick: () => this.reach(range) }, words),
      ),
    );
    return this.ranges;
  }

  async reach(range) {
    go({ range }, true);
    await this.plot();
    [...this.ranges.children].find((button) => button.getAttribute("aria-pressed") === "true")?.focus();
  }

  draw({ data }) {
    const rows = [
      ["Process", data.pid],
      ["Memory", data.memory == null ? null : bytes(data.memory)],
      [data.state === "external" ? "Watched for" : "Running for", data.uptime == null ? null : span(data.uptime)],
      [data.state === "external" ? "Watched since" : "Started", data.started_at && when(data.started_at)],
      ["Generation", data.pid == null ? null : data.generation],
      ["Last pulse", lives(data) ? null : data.last_heartbeat && when(data.last_heartbeat)],
      ["Pulses", data.total_pulses?.toLocaleString("en")],
      ["Missed now", data.missed > 0 ? count(data.missed, "interval") : null],
      ["Failures in a row", data.consecutive_failures > 0 ? data.consecutive_failures : null],
      ["Errors", data.error_count > 0 ? data.error_count.toLocaleString("en") : null],
      ["Restarts", data.restarts > 0 ? data.restarts.toLocaleString("en") : null],
      ["Says", data.message],
      ["Cycle", data.cycle],
      ["Progress", data.progress],
      ["Trend", data.trend],
      ["Predicted miss", data.predicted_miss_at && when(data.predicted_miss_at)],
      ["Suspicion", data.suspicion == null ? null : figure(data.suspicion)],
      ["Waits for", data.waiting_for?.length ? links(data.waiting_for) : null],
      ["Depends on", data.depends_on?.length ? links(data.depends_on) : null],
      ["Blocked by", data.blocked_by],
      ["Tags", data.tags?.length ? data.tags.join(", ") : null],
      ["Counts in full", data.critical === false ? "no, for degraded at most" : null],
      ["Run", data.run && `under way for ${span(data.run.running_for)}`],
      ["Last run", data.last_run && `${data.last_run.outcome} at ${when(data.last_run.ended_at)}${data.last_run.duration == null ? "" : `, took ${span(data.last_run.duration)}`}`],
      ["Left out", data.lines_dropped + data.notify_dropped > 0 ? `${data.lines_dropped} lines, ${data.notify_dropped} datagrams` : null],
    ].filter(([, value]) => value != null && value !== "");
    const key = JSON.stringify(rows.map(([label, value]) => [label, String(value)]));
    if (this.key !== key) {
      this.key = key;
      this.facts.replaceChildren(...rows.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))));
    }
    this.figures(data.metrics ?? {});
    if (performance.now() - this.plotted > (this.recorded ? 60_000 : 10_000)) this.plot();
  }

  figures(metrics) {
    const names = Object.keys(metrics);
    const key = JSON.stringify(metrics);
    if (this.metricsKey === key) return;
    this.metricsKey = key;
    if (names.length === 0) {
      this.metrics.replaceChildren();
      return;
    }
    this.metrics.replaceChildren(
      h("h3", {}, "Its own figures"),
      h(
        "table",
        { class: "plain" },
        h("thead", {}, h("tr", {}, ...["Figure", "Now", "Least", "Mean", "Most", "Values"].map((words, at) => h("th", { scope: "col", class: at > 0 && "number" }, words)))),
        h(
          "tbody",
          {},
          ...names.map((name) => {
            const { value, min, mean, max, count: n } = metrics[name];
            return h("tr", {}, h("th", { scope: "row" }, name), ...[value, min, mean, max, n].map((x) => h("td", { class: "number" }, figure(x))));
          }),
        ),
      ),
    );
  }

  /** What is seen of its rhythm. */
  async plot() {
    const entry = this.drawer.store.get(this.name);
    if (!entry) return;
    this.recorded = this.drawer.who.offers.includes("history");
    if (this.recorded) {
      this.plotted = performance.now();
      await this.past(entry);
      return;
    }
    const gaps = entry.gaps;
    if (gaps.length < 3) return;
    this.plotted = performance.now();
    this.leave();
    const place = h("div", { class: "plot" });
    this.charts.replaceChildren(h("figure", {}, h("figcaption", {}, "Time between pulses since this page is open"), place));
    const times = gaps.map(([at]) => at);
    const series = [{ label: "gap", values: gaps.map(([, gap]) => gap), fill: true }];
    if (entry.data.interval != null) {
      series.push({ label: "promised", values: times.map(() => entry.data.interval), colour: "muted", width: 1, dash: [4, 4] });
    }
    this.undo.push(await chart(place, times, series, "s"));
  }

  /** What is recorded: levels, the time between pulses, figures, and why nothing is. */
  async past(entry) {
    let history;
    try {
      history = await get(`/api/history/${part(this.name)}?from=${state.range}`);
    } catch (error) {
      this.charts.replaceChildren(h("p", { class: "sub" }, error.message));
      return;
    }
    if (!this.charts.isConnected) return;
    this.leave();
    const { points, from, to, step, uptime, gaps } = history;
    const begin = new Date(from).getTime() / 1000;
    const size = Math.max(1, Math.round((new Date(to).getTime() / 1000 - begin) / step));
    const times = Array.from({ length: size }, (_, at) => begin + at * step);
    const known = new Map(points.map((point) => [Math.round((new Date(point.time).getTime() / 1000 - begin) / step), point]));
    const values = (of) => times.map((_, at) => (known.has(at) ? (of(known.get(at)) ?? null) : null));
    const [, over] = RANGES.find(([range]) => range === state.range) ?? ["", state.range];
    const plots = [];
    const figure = (words, series, unit) => {
      if (series.every(({ values }) => values.filter((value) => value !== null).length < 2)) return null;
      const place = h("div", { class: "plot" });
      plots.push([place, series, unit]);
      return h("figure", {}, h("figcaption", {}, words), place);
    };
    const lines = [
      { label: "mean", values: values(({ gap }) => gap?.mean), fill: true },
      { label: "longest", values: values(({ gap }) => gap?.max), colour: "degraded", width: 1 },
    ];
    if (entry.data.interval != null) {
      lines.push({ label: "promised", values: times.map(() => entry.data.interval), colour: "muted", width: 1, dash: [4, 4] });
    }
    const names = [...new Set(points.flatMap((point) => Object.keys(point.metrics)))].slice(0, 6);
    this.charts.replaceChildren(
      ...[
        h("div", { class: "bar" }, this.choice(), h("span", { class: "sub" }, `up ${percent(uptime["24h"])} in 24 h · ${percent(uptime["7d"])} in 7 d · ${percent(uptime["30d"])} in 30 d`)),
        h("figure", { class: "levels" }, h("figcaption", {}, `Level over ${over}, ${span(step)} a cell`), strip(cellsIn(history, entry.data.status), over, `× ${span(step)}`)),
        figure("Time between pulses", lines.filter((line) => line.values.some((value) => value !== null)), "s"),
        ...names.map((name) => figure(name, [{ label: "mean", values: values(({ metrics }) => metrics[name]?.mean), fill: true }, { label: "most", values: values(({ metrics }) => metrics[name]?.max), colour: "muted", width: 1 }])),
        gaps.length > 0 && h("p", { class: "sub" }, `Nothing is known of ${gaps.slice(-5).map((gap) => `${when(gap.from)} to ${when(gap.to)} (${gap.reason})`).join(", ")}.`),
      ].filter(Boolean),
    );
    for (const [place, series, unit] of plots) this.undo.push(await chart(place, times, series, unit));
  }
}

function links(names) {
  return h("span", {}, ...names.flatMap((name, at) => [at > 0 && ", ", h("a", { href: address({ service: name }) }, name)]).filter(Boolean));
}

// === Events ===

/** A row of the list of events. */
export function eventRow(event, withService) {
  const change = event.from && event.to ? `${event.from} → ${event.to}` : (event.to ?? "");
  const level = event.kind === "level" ? event.to : null;
  return h(
    "tr",
    { "data-level": level },
    h("td", { class: "when" }, h("time", { datetime: event.time }, when(event.time))),
    withService && h("th", { scope: "row" }, event.service ? h("a", { href: address({ view: "", service: event.service }) }, event.service) : "–"),
    h("td", {}, h("span", { class: "level" }, level && icon(level), h("span", {}, event.kind === "level" ? change : `${event.kind}${change ? ` ${change}` : ""}`))),
    h("td", { class: "reason" }, event.reason),
  );
}

class Events {
  constructor(place, name, drawer) {
    this.place = place;
    this.name = name;
    this.drawer = drawer;
    this.load();
  }

  async load() {
    try {
      const { events } = await get(`/api/events?service=${part(this.name)}&limit=200`);
      this.body = h("tbody", {}, ...events.reverse().map((event) => eventRow(event)));
      this.newest = events[0]?.id ?? 0;
      if (events.length === 0) {
        this.place.replaceChildren(h("p", { class: "empty" }, "Nothing has happened yet."));
        return;
      }
      this.place.replaceChildren(
        h("table", { class: "plain events" }, head("When", "What", "Why"), this.body),
      );
    } catch (error) {
      trouble(this.place, error, () => this.load(), this.drawer);
    }
  }

  heard(event) {
    if (!this.body?.isConnected) this.load();
    else if (event.id > this.newest) {
      this.newest = event.id;
      this.body.prepend(eventRow(event));
      if (this.body.rows.length > 500) this.body.lastChild.remove();
    }
  }
}

export function head(...words) {
  return h("thead", {}, h("tr", {}, ...words.map((word) => h("th", { scope: "col" }, word))));
}

// === Runs ===

class Runs {
  constructor(place, name, drawer) {
    this.place = place;
    this.name = name;
    this.drawer = drawer;
    this.load();
  }

  async load() {
    try {
      const { runs } = await get(`/api/runs/${part(this.name)}?limit=50`);
      if (runs.length === 0) {
        this.place.replaceChildren(h("p", { class: "empty" }, "No run has ended yet. ", h("code", {}, `supervisor run ${this.name} -- COMMAND`), " tells of one."));
        return;
      }
      this.place.replaceChildren(
        h("table", { class: "plain runs" }, head("Ended", "How", "Took", "What it said"), h("tbody", {}, ...runs.map((run) => this.row(run)))),
      );
    } catch (error) {
      trouble(this.place, error, () => this.load(), this.drawer);
    }
  }

  row(run) {
    const level = { success: "healthy", failure: "critical", abandoned: "warning" }[run.outcome] ?? "unknown";
    const code = run.exit_code == null || run.exit_code === 0 ? "" : ` (${run.exit_code})`;
    const output = h("pre", { hidden: true, tabindex: "0" });
    const more = h("button", { type: "button", class: "quiet small", "aria-expanded": "false" }, "Output");
    more.addEventListener("click", async () => {
      const opening = output.hidden;
      attribute(more, "aria-expanded", String(opening));
      output.hidden = !opening;
      if (!opening || output.textContent) return;
      try {
        const whole = await get(`/api/runs/${part(this.name)}/${run.id}`);
        output.textContent = whole.output || "It printed nothing, or that is not kept any more.";
      } catch (error) {
        output.textContent = error.message;
      }
    });
    return h(
      "tr",
      { "data-level": level },
      h("td", { class: "when" }, when(run.ended_at)),
      h("td", {}, h("span", { class: "level" }, icon(level), `${run.outcome}${code}`)),
      h("td", { class: "number" }, span(run.duration)),
      h("td", { class: "reason" }, run.message ?? "", " ", more, output),
    );
  }

  heard(event) {
    if (["error", "level", "exited"].includes(event.kind)) this.load();
  }
}

// === Log ===

class Log {
  constructor(place, name, drawer) {
    this.place = place;
    this.name = name;
    this.drawer = drawer;
    this.seen = () => {
      clearTimeout(this.timer);
      if (document.hidden) this.timer = setTimeout(() => this.gone.abort(), UNSEEN);
      else if (this.gone.signal.aborted) this.follow();
    };
    document.addEventListener("visibilitychange", this.seen);
    this.follow();
  }

  leave() {
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
    this.gone?.abort();
  }

  async follow() {
    this.gone = new AbortController();
    const lines = h("pre", { class: "log", tabindex: "0", "aria-label": `Log of ${this.name}` });
    const note = h("span", { class: "sub" }, "reading …");
    const end = h("input", { type: "checkbox", checked: true });
    const stay = () => {
      if (end.checked) lines.scrollTop = lines.scrollHeight;
    };
    lines.addEventListener("scroll", () => {
      end.checked = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 30;
    });
    end.addEventListener("change", stay);
    this.place.replaceChildren(h("div", { class: "bar" }, h("label", { class: "check" }, end, "Stay at the end"), note), lines);
    try {
      const response = await open(`/api/logs/${part(this.name)}?tail=300&follow=1`, { signal: this.gone.signal });
      text(note, "following");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let kept = 0;
      let held = 0;
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        if (!value) continue;
        lines.append(value);
        kept += value.split("\n").length - 1;
        held += value.length;
        if (kept > MOST_LINES || held > MOST_CHARACTERS) {
          const whole = lines.textContent.split("\n").slice(-MOST_LINES / 2);
          lines.textContent = whole.join("\n").slice(-MOST_CHARACTERS / 2);
          kept = whole.length;
          held = lines.textContent.length;
        }
        stay();
      }
      text(note, "the log has ended; open the tab again to go on");
    } catch (error) {
      trouble(this.place, error, () => this.follow(), this.drawer);
    }
  }
}

// === Configuration ===

class Config {
  constructor(place, name, drawer) {
    this.place = place;
    this.name = name;
    this.drawer = drawer;
    this.load();
  }

  async load() {
    try {
      const config = await get(`/api/services/${part(this.name)}/config`);
      this.place.replaceChildren(
        h("p", { class: "sub" }, "As it holds now, defaults included. Values of its environment are left out."),
        settings(config),
      );
    } catch (error) {
      if (error.status === 404) this.place.replaceChildren(h("p", { class: "empty" }, "This supervisor does not tell its configuration."));
      else trouble(this.place, error, () => this.load(), this.drawer);
    }
  }
}

/** What one looks for first comes first; the rest by name. */
const FIRST = ["command", "restart_command", "cwd", "enabled", "pulses", "interval", "interval_learnt", "grace", "warning_after", "degraded_after", "critical_after", "sources", "depends_on", "tags", "env"];

function settings(object) {
  const place = ([key]) => (FIRST.includes(key) ? FIRST.indexOf(key) : FIRST.length);
  const rows = Object.entries(object)
    .sort((a, b) => place(a) - place(b)).filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0));
  return h("dl", { class: "settings" }, ...rows.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, setting(value)))));
}

function setting(value) {
  if (Array.isArray(value)) {
    if (value.every((word) => typeof word === "string")) return h("code", {}, value.map(quoted).join(" "));
    return h("div", {}, ...value.map(setting));
  }
  if (value && typeof value === "object") return settings(value);
  return h("code", {}, String(value));
}

const quoted = (word) => (/^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

// === Connect ===

class Connect {
  constructor(place, name) {
    const url = location.origin;
    const lines = [
      ["From a shell", `curl -X POST ${url}/api/pulse/${name}`],
      ["An error", `curl -X POST ${url}/api/error/${name} -d '{"message":"disk full"}'`],
      ["On this machine", `supervisor pulse ${name}`],
      ["A job with its exit status and output", `supervisor run ${name} -- ./job.sh`],
      ["From a service that we start", 'curl -X POST -H "Authorization: Bearer $SUPERVISOR_TOKEN" "$SUPERVISOR_URL/api/pulse/$SUPERVISOR_SERVICE"'],
      ["sd_notify, from within", "systemd-notify WATCHDOG=1"],
      ["Python", `from supervisor_client import Heartbeat\n\nwith Heartbeat(interval=30, tag="${name}") as heartbeat:\n    heartbeat.pulse()`],
      ["With figures", `curl -X POST ${url}/api/pulse/${name} -d '{"message":"batch 7","progress":0.5,"metrics":{"queue":12}}'`],
    ];
    place.replaceChildren(
      h("p", { class: "sub" }, `Lines to copy that make ${name} pulse.`),
      ...lines.map(([title, line]) =>
        h(
          "section",
          { class: "copy" },
          h("h3", {}, title),
          h("div", {}, h("pre", { tabindex: "0" }, line), h("button", { type: "button", class: "small", onclick: () => copy(line) }, "Copy", h("span", { class: "sr" }, ` ${title}`))),
        ),
      ),
    );
  }
}

async function copy(line) {
  try {
    await navigator.clipboard.writeText(line);
    toast("Copied");
  } catch {
    toast("This browser does not let pages copy; select the line instead", true);
  }
}

