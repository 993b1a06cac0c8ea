// The other views: alerts, events, the sync's queue.

import { acknowledge, ask, speak } from "./actions.js";
import { get, post } from "./api.js";
import { $, coalesce, h, icon, text } from "./dom.js";
import { eventRow, head } from "./drawer.js";
import { address, state } from "./state.js";
import { count, span, when } from "./words.js";

/** Open alerts: counted in the header, listed in their view, taken in the drawer. */
export class Alerts {
  constructor(who) {
    this.who = who;
    this.open = [];
    this.silences = null;
    this.place = $("view-alerts");
    this.later = coalesce(() => this.reload(), 1000);
    this.changed = () => {};
  }

  of(name) {
    return this.open.find((alert) => alert.kind === "service" && alert.service === name);
  }

  async reload() {
    try {
      const { alerts } = await get("/api/alerts?limit=1000");
      this.open = alerts;
    } catch {
      // The signal says that nothing comes.
      return;
    }
    const firing = this.open.filter((alert) => alert.state === "firing").length;
    text($("alert-count"), String(firing || ""));
    $("alert-count").hidden = firing === 0;
    this.changed();
    if (state.view === "alerts") this.show();
  }

  async show() {
    this.silences = null;
    if (this.who.signedIn) {
      try {
        this.silences = (await get("/api/silences")).silences;
      } catch {
        // Shown without them.
      }
    }
    const rows = this.open.map((alert) =>
      h(
        "tr",
        { "data-level": alert.level },
        h("td", {}, h("span", { class: "level" }, icon(alert.level), alert.level), h("div", { class: "sub" }, alert.state)),
        h("th", { scope: "row" }, ...this.about(alert)),
        h("td", { class: "reason" }, alert.reason, h("div", { class: "sub" }, ...this.told(alert))),
        h("td", { class: "when" }, when(alert.opened)),
        h("td", { class: "act" }, this.button(alert)),
      ),
    );
    this.place.replaceChildren(
      h("h2", {}, "Open alerts"),
      rows.length > 0
        ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Open alerts" }, h("table", { class: "plain" }, head("Level", "Of", "Why", "Since", "Action"), h("tbody", {}, ...rows)))
        : h("p", { class: "empty" }, "Nothing to be told of."),
      ...this.quiet(),
    );
  }

  /** Of what; ourselves we name, or "restarted" would be a service. */
  about(alert) {
    if (alert.kind === "service") return [h("a", { href: address({ view: "", service: alert.service }) }, alert.service)];
    if (alert.kind === "supervisor") return ["the supervisor", h("div", { class: "sub" }, alert.service)];
    return [alert.service];
  }

  told(alert) {
    const parts = [
      alert.acknowledged && `${alert.acknowledged.by} has it${alert.acknowledged.note ? `: ${alert.acknowledged.note}` : ""}`,
      alert.silent && `nobody is told: ${alert.silent}`,
      alert.told?.length > 0 && `told: ${alert.told.join(", ")}`,
      alert.members?.length > 0 && count(alert.members.length, "service"),
    ];
    return [parts.filter(Boolean).join(" · ")];
  }

  button(alert) {
    if (alert.state === "acknowledged") return "taken";
    if (!this.who.signedIn) return "";
    return h("button", { type: "button", class: "small", onclick: () => acknowledge(alert, () => this.reload()) }, "Acknowledge …");
  }

  quiet() {
    if (this.silences === null) return [h("p", { class: "sub" }, "Sign in to take alerts and to see silences.")];
    if (this.silences.length === 0) return [];
    const rows = this.silences.map((silence) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, silence.services, silence.tag && h("span", { class: "tag" }, silence.tag)),
        h("td", { class: "reason" }, silence.note || "–", h("div", { class: "sub" }, silence.by)),
        h("td", { class: "when" }, when(silence.until)),
        h("td", { class: "act" }, h("button", { type: "button", class: "small", onclick: () => speak(silence, () => this.show()) }, "End …")),
      ),
    );
    return [h("h2", {}, "Silences"), h("table", { class: "plain" }, head("Services", "Why", "Until", "Action"), h("tbody", {}, ...rows))];
  }
}

/** What happened, the newest first. */
export class EventList {
  constructor() {
    this.place = $("view-events");
    this.newest = 0;
  }

  async show() {
    try {
      const { events } = await get("/api/events?limit=300");
      this.body = h("tbody", {}, ...events.reverse().map((event) => eventRow(event, true)));
      this.newest = events[0]?.id ?? 0;
      this.place.replaceChildren(
        h("h2", {}, "What happened"),
        events.length > 0
          ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Recent events" }, h("table", { class: "plain events" }, head("When", "Service", "What", "Why"), this.body))
          : h("p", { class: "empty" }, "Nothing yet."),
      );
    } catch (error) {
      this.place.replaceChildren(h("p", { class: "empty" }, error.message));
    }
  }

  heard(event) {
    if (state.view !== "events" || !this.body?.isConnected || event.id <= this.newest) return;
    this.newest = event.id;
    this.body.prepend(eventRow(event, true));
    if (this.body.rows.length > 600) this.body.lastChild.remove();
  }
}

/** What waits to be mirrored, and what is parked; where this supervisor mirrors anything. */
export class Sync {
  constructor(who) {
    this.who = who;
    this.place = $("view-sync");
    this.link = document.querySelector('[data-view="sync"]');
    this.status = null;
  }

  async reload() {
    // Asking for what is not there would be an error in the browser's console.
    if (!this.who.offers.includes("sync")) return;
    try {
      this.status = await get("/api/sync");
    } catch (error) {
      if (error.status === 404) this.status = null;
    }
    this.link.hidden = this.status === null;
    const parked = this.status?.parked?.length ?? 0;
    text($("sync-count"), String(parked || ""));
    $("sync-count").hidden = parked === 0;
    if (state.view === "sync") this.show();
  }

  show() {
    if (this.status === null) {
      this.place.replaceChildren(h("p", { class: "empty" }, "This supervisor mirrors nothing."));
      return;
    }
    const { mode, target, queue, parked, held, directories, totals, rates, scan, watch, ledger } = this.status;
    const facts = [
      ["Target", `${target.name}, ${target.state}${mode === "dry_run" ? ", dry run" : ""}`],
      ["Why", target.reason],
      ["Asked again in", target.retry_in == null ? null : span(target.retry_in)],
      ["Being edited", queue.debouncing],
      ["To be sent", queue.due],
      ["On their way", queue.in_flight],
      ["Parked", queue.parked],
      ["Held", queue.held],
      ["Sent in the last minute", `${rates.rows_last_minute}`],
      ["Since the start", `${totals.synced} sent, ${totals.skipped} unchanged, ${totals.errors} parked`],
      ["Last scan", scan.running ? `under way: ${scan.files} files` : scan.last && `${when(scan.last)}, ${scan.files} files in ${span(scan.seconds)}`],
      ["Watched", watch.mode === "kernel" ? count(watch.directories, "directory", "directories") : watch.mode],
      ["Polling because", watch.reason],
      ["Record", ledger],
    ].filter(([, value]) => value != null && value !== "");
    const act = (title, words, path, table) =>
      this.who.signedIn &&
      h("button", { type: "button", class: "small", onclick: () => this.ask(title, words, path, table) }, `${title} …`);
    const parts = [
      h("h2", {}, "Sync"),
      h("dl", { class: "facts" }, ...facts.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, String(value))))),
      held.length > 0 && h("h2", {}, "Deletions that wait for your word"),
      held.length > 0 &&
        list(
          ["Table", "Rows", "Action"],
          held.map(({ table, rows, of }) => [table, `${rows} of ${of}`, act("Delete them", `${rows} of ${of} rows of ${table} are deleted: their files are gone.`, "confirm", table) || "sign in"]),
        ),
      parked.length > 0 && h("h2", {}, `${count(parked.length, "file")} parked`),
      parked.length > 0 && list(["File", "Table", "Why", "Since"], parked.map((row) => [row.file_path, row.table, row.reason, when(row.since)])),
      parked.length > 0 && act("Try again", "All parked files are tried again.", "retry"),
      h("h2", {}, "Directories"),
      list(
        ["Directory", "Table", "Last row taken"],
        directories.map((row) => [row.exists ? row.path : `${row.path} (is not there)`, row.table, when(row.last_sync)]),
      ),
    ];
    this.place.replaceChildren(...parts.filter(Boolean));
  }

  ask(title, words, path, table) {
    ask({
      title: `${title}?`,
      words,
      button: title,
      danger: path === "confirm",
      act: async () => {
        await post(`/api/sync/${path}`, table ? { table } : {});
        await this.reload();
      },
    });
  }
}

function list(names, rows) {
  const body = rows.map((row) => h("tr", {}, ...row.map((cell, at) => h(at === 0 ? "th" : "td", at === 0 ? { scope: "row", class: "reason" } : { class: "reason" }, cell))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": names[0] }, h("table", { class: "plain" }, head(...names), h("tbody", {}, ...body)));
}
