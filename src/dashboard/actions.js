// What somebody who is signed in may do, each after a question.

import { post, part, send } from "./api.js";
import { $, h } from "./dom.js";
import { age } from "./store.js";
import { span } from "./words.js";

/** A word at the edge of the page, for a while. */
export function toast(words, bad = false) {
  const element = h("p", { class: bad ? "toast bad" : "toast" }, words);
  $("toasts").append(element);
  setTimeout(() => element.remove(), bad ? 9000 : 5000);
}

/**
 * A question. `fields` are elements; `act` may refuse by an error, which is shown and leaves
 * the question open.
 */
export function ask({ title, words, fields = [], button, danger, act }) {
  const dialog = $("dialog");
  const back = document.activeElement;
  const trouble = h("p", { class: "trouble", role: "alert", hidden: true });
  const yes = h("button", { type: "submit", class: danger ? "danger" : "primary" }, button);
  const no = button !== "Close" && h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel");
  const form = h(
    "form",
    { method: "dialog", novalidate: true },
    h("h2", { id: "dialog-title" }, title),
    ...[words].flat().filter(Boolean).map((line) => h("p", {}, line)),
    ...fields,
    trouble,
    h("div", { class: "buttons" }, no, yes),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    yes.disabled = true;
    trouble.hidden = true;
    try {
      await act(new FormData(form));
      dialog.close();
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    } finally {
      yes.disabled = false;
    }
  });
  dialog.replaceChildren(form);
  dialog.onclose = () => {
    dialog.replaceChildren();
    if (back?.isConnected) back.focus();
  };
  if (!dialog.open) dialog.showModal();
  (fields[0]?.querySelector("input, select") ?? yes).focus();
}

export function field(label, control, hint) {
  return h("label", { class: "field" }, h("span", {}, label), control, hint && h("small", {}, hint));
}

export function choice(name, options, chosen) {
  return h(
    "select",
    { name },
    options.map(([value, words]) => h("option", { value, selected: value === chosen }, words)),
  );
}

const SPANS = [
  ["15m", "15 minutes"],
  ["1h", "1 hour"],
  ["4h", "4 hours"],
  ["8h", "8 hours"],
  ["24h", "a day"],
  ["7d", "a week"],
];

/** Which actions make sense now: `{verb, words, danger, primary}`. */
export function sensible(data) {
  const runs = data.pid != null || ["starting", "running", "stopping", "backoff"].includes(data.state);
  const external = data.state === "external";
  const rests = ["stopped", "exited"].includes(data.state);
  return [
    data.state === "quarantined" && { verb: "clear", words: "Clear", primary: true },
    rests && { verb: "start", words: "Start", primary: true },
    data.state === "paused" && { verb: "resume", words: "Resume", primary: true },
    (runs || external) && { verb: "restart", words: "Restart", danger: true },
    (runs || external) && { verb: "nudge", words: "Nudge" },
    data.state !== "paused" && { verb: "pause", words: "Pause …" },
    { verb: "silence", words: "Silence …" },
    runs && { verb: "stop", words: "Stop", danger: true },
  ].filter(Boolean);
}

const MEANS = {
  restart: "It is stopped, and started again.",
  stop: "It stays stopped until somebody starts it.",
  start: "It is started now.",
  nudge: "It gets its configured nudge, once.",
  clear: "Its failures are forgotten, and it is started again.",
  resume: "It is judged and restarted again.",
};

/** Asks, and does it. */
export function act(entry, verb) {
  const { data } = entry;
  const { name } = data;
  if (verb === "silence") return silence(name);
  const pause = verb === "pause";
  const label = verb[0].toUpperCase() + verb.slice(1);
  const seconds = age(entry);
  const facts = [
    data.pid != null && `It runs as process ${data.pid}${data.uptime == null ? "" : `, for ${span(data.uptime)}`}.`,
    seconds !== null && `Its last pulse came ${span(seconds)} ago.`,
  ].filter(Boolean);
  return ask({
    title: `${label} ${name}?`,
    words: [pause ? "It is left alone: not judged, not restarted." : MEANS[verb], facts.join(" ")],
    fields: pause ? [field("For", choice("for", [...SPANS, ["", "until somebody resumes it"]], "1h"))] : [],
    button: label,
    danger: ["restart", "stop"].includes(verb),
    act: async (form) => {
      const lasting = pause ? form.get("for") : "";
      await post(`/api/services/${part(name)}/${verb}`, lasting ? { for: lasting } : undefined);
      toast(`${name}: ${verb} is under way`);
    },
  });
}

function silence(name) {
  return ask({
    title: `Silence ${name}?`,
    words: "Its alerts tell nobody. It is watched and restarted as ever.",
    fields: [
      field("For", choice("for", SPANS, "1h")),
      field("Why", h("input", { name: "note", maxlength: 400, autocomplete: "off" }), "for whoever wonders"),
    ],
    button: "Silence",
    act: async (form) => {
      await post("/api/silences", { services: name, for: form.get("for"), note: form.get("note"), by: "dashboard" });
      toast(`${name} is silenced`);
    },
  });
}

/** Takes an alert. */
export function acknowledge(alert, then) {
  return ask({
    title: `Take the alert of ${alert.service}?`,
    words: ["No repeats and no further steps, unless it gets worse.", alert.reason],
    fields: [
      field("By", h("input", { name: "by", maxlength: 100, autocomplete: "username", value: remembered() })),
      field("Note", h("input", { name: "note", maxlength: 400, autocomplete: "off" })),
    ],
    button: "Acknowledge",
    act: async (form) => {
      const by = form.get("by").trim() || "dashboard";
      remember(by);
      await post(`/api/alerts/${alert.id}/ack`, { by, note: form.get("note") });
      toast(`You have the alert of ${alert.service}`);
      then?.();
    },
  });
}

/** Ends a silence. */
export function speak(silence, then) {
  return ask({
    title: `End the silence of ${silence.services}?`,
    words: "Whoever is to be told of its alerts is told again.",
    button: "End it",
    act: async () => {
      await send("DELETE", `/api/silences/${silence.id}`);
      then?.();
    },
  });
}

/** Signs in by the token. */
export function signIn(then) {
  return ask({
    title: "Sign in",
    words: "The token is in the file token of the data directory, unless the configuration names another. Or run supervisor dashboard for an address that signs in by itself.",
    fields: [field("Token", h("input", { name: "token", type: "password", autocomplete: "current-password", required: true }))],
    button: "Sign in",
    act: async (form) => {
      await post("/login", { token: form.get("token").trim() });
      then();
    },
  });
}

function remembered() {
  try {
    return localStorage.getItem("by") ?? "";
  } catch {
    return "";
  }
}

function remember(by) {
  try {
    localStorage.setItem("by", by);
  } catch {
    // A browser that keeps nothing: typed again next time.
  }
}
