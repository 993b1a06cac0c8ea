// The page: what is heard goes to the store, what is in the store to what is seen.

import { ask, signIn, toast } from "./actions.js";
import { get, onSignedOut, post } from "./api.js";
import { $, attribute, coalesce, h, icon, still, text } from "./dom.js";
import { Drawer } from "./drawer.js";
import { Feed } from "./feed.js";
import { Alerts, EventList, Sync } from "./lists.js";
import { address, follow, go, levels, onState, state } from "./state.js";
import { Store } from "./store.js";
import { Strips } from "./strips.js";
import { Table } from "./table.js";
import { LEVELS, sentence, ticking } from "./words.js";

const store = new Store();
const who = { signedIn: false, locked: false, host: "", offers: [], signIn: () => signIn(signedIn) };
const strips = new Strips((name) => table.changed(name), who);
const table = new Table(store, strips);
const alerts = new Alerts(who);
const events = new EventList();
const sync = new Sync(who);
const drawer = new Drawer(store, who, alerts);
alerts.changed = () => drawer.draw();

// === What is heard ===

const feed = new Feed({
  snapshot({ services, overall }, anew) {
    const before = new Map([...store.entries].map(([name, entry]) => [name, entry.data]));
    store.replace(services, overall);
    for (const data of services) note(before.get(data.name), data);
    drawer.redraw();
    beat();
    relist();
    if (!anew) return;
    // What happened meanwhile was told to nobody: lists of it begin anew.
    if (state.view === "events") events.show();
    drawer.anew();
  },
  service(data) {
    const before = store.get(data.name)?.data;
    store.put(data);
    store.told = null;
    note(before, data);
    beat();
    // At once where it stands; where it belongs a moment later.
    table.changed(data.name);
    if (!before || before.status !== data.status || before.reason !== data.reason) relist();
    drawer.changed(data.name);
  },
  removed(name) {
    store.remove(name);
    strips.drop(name);
    relist();
    drawer.changed(name);
  },
  event(event) {
    if (event.kind === "level") strips.touch(event.service);
    events.heard(event);
    drawer.heard(event);
    if (event.kind === "alert") alerts.later();
    if (event.kind === "sync") sync.reload();
  },
  alert() {
    alerts.later();
  },
  signal(word) {
    attribute($("beat"), "data-signal", word);
    document.body.dataset.signal = word;
    summarise();
    tick();
    if (word === "live" || word === "polling") {
      alerts.later();
      known();
    }
  },
  locked() {
    text($("sentence"), "Sign in to see the services");
    who.signIn();
  },
});

/** What follows from one object after another of the same service. */
function note(before, data) {
  if (!before) return;
  const entry = store.get(data.name);
  // Where it is recorded it is drawn from there.
  if (!who.offers.includes("history") && before.last_heartbeat && data.last_heartbeat !== before.last_heartbeat) {
    const at = new Date(data.last_heartbeat).getTime() / 1000;
    const gap = at - new Date(before.last_heartbeat).getTime() / 1000;
    const pulses = data.total_pulses - before.total_pulses;
    if (gap > 0 && pulses > 0) {
      entry.gaps.push([at, gap / pulses]);
      if (entry.gaps.length > 240) entry.gaps.shift();
    }
  }
  if (before.status !== data.status) {
    entry.since = performance.now();
    strips.touch(data.name);
    alerts.later();
  }
  if (drawer.name === data.name) drawer.changed(data.name);
}

/** The pulse of what comes in: a ring that widens, the colour of how things stand. */
const beat = coalesce(() => {
  const ring = $("beat").querySelector(".ring");
  if (still() || document.hidden) return;
  ring.animate(
    [
      { transform: "scale(0.82)", opacity: 0.7 },
      { transform: "scale(1.25)", opacity: 0 },
    ],
    { duration: 900, easing: "cubic-bezier(0.2, 0.6, 0.3, 1)" },
  );
}, 1000);

// === The head ===

function summarise() {
  const counts = store.counts();
  const lost = feed.word === "lost";
  const overall = store.entries.size > 0 ? store.worst() : "unknown";
  // A number stays with its level where the line breaks.
  const words = sentence(counts).replaceAll(/([0-9]) /g, "$1\u00a0");
  const known = feed.word !== "connecting" || store.entries.size > 0;
  if (known && feed.word !== "locked") text($("sentence"), words);
  attribute($("beat"), "data-overall", overall);
  const icons = $("favicon");
  const wanted = icons.href.replace(/icon-\w+\.svg$/, `icon-${lost ? "lost" : overall}.svg`);
  if (icons.href !== wanted) icons.href = wanted;
  const where = who.host ? ` · ${who.host}` : "";
  document.title = lost ? `no signal${where}` : `${sentence(counts)}${where}`;
  chips(counts);
  announce(lost ? "No signal from the supervisor" : sentence(counts));
}

/** Says the sentence to those who do not see it: once it has stood for a while, not each step. */
const announce = (() => {
  let said = "";
  let timer = null;
  return (words) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (words !== said) text($("announcer"), words);
      said = words;
    }, 4000);
  };
})();

function tick() {
  const heard = feed.age();
  const word = { live: "Live", polling: "Live, by asking every few seconds", lost: "No signal", locked: "Signed out", connecting: "Connecting" }[feed.word];
  text($("signal-word"), word);
  const why = feed.word === "lost" && feed.why ? ` · ${feed.why}` : "";
  const old = heard === null ? "" : ` · data ${ticking(heard / 1000)} old`;
  text($("signal-age"), heard === null ? why : feed.word === "lost" || heard > 15_000 ? `${why}${old}` : who.host ? ` · ${who.host}` : "");
  table.tick();
  drawer.tick();
}

function chips(counts) {
  const chosen = levels();
  const place = $("chips");
  if (place.children.length === 0) {
    place.append(
      ...LEVELS.map((level) =>
        h("button", { type: "button", class: "chip", "data-level": level, onclick: () => choose(level) }, icon(level), h("span", {}, level), h("span", { class: "n" })),
      ),
    );
  }
  for (const chip of place.children) {
    const { level } = chip.dataset;
    text(chip.querySelector(".n"), counts[level].toLocaleString("en"));
    attribute(chip, "aria-pressed", String(chosen.has(level)));
    chip.classList.toggle("none", counts[level] === 0 && !chosen.has(level));
  }
}

function choose(level) {
  const chosen = levels();
  if (!chosen.delete(level)) chosen.add(level);
  go({ level: LEVELS.filter((known) => chosen.has(known)).join(",") });
}

// === The list ===

const relist = coalesce(() => {
  summarise();
  tags();
  const items = store.list({ q: state.q, levels: levels(), tag: state.tag, group: state.group, internal: state.internal === "1" });
  table.show(items);
  const none = items.length === 0 && feed.word !== "connecting";
  $("empty").hidden = !none;
  if (none) {
    $("empty").replaceChildren(
      ...(store.entries.size > 0 && (state.q || state.level || state.tag)
        ? [h("p", {}, "No service fits."), h("a", { href: address({ q: "", level: "", tag: "" }) }, "Show all")]
        : [h("p", {}, "No services are watched yet."), h("p", { class: "sub" }, "Name one in supervisor.toml, or let one register itself: "), h("code", {}, `curl -H 'Content-Type: application/json' -d '{"tag":"nightly","interval":"1h"}' ${location.origin}/api/register`)]),
    );
  }
}, 120);

let known_tags = "";
function tags() {
  const all = store.tags();
  const key = all.join("\n");
  if (key === known_tags) return;
  known_tags = key;
  $("tag-pick").hidden = all.length === 0;
  $("tag").replaceChildren(h("option", { value: "" }, "any"), ...all.map((tag) => h("option", { value: tag }, tag)));
  $("tag").value = state.tag;
}

// === The address ===

function show(now, before) {
  for (const view of ["services", "alerts", "events", "sync"]) {
    $(`view-${view}`).hidden = now.view !== view;
    const link = document.querySelector(`[data-view="${view}"]`);
    attribute(link, "aria-current", now.view === view ? "page" : null);
    attribute(link, "href", address({ view, service: "", tab: "" }));
  }
  if ($("search").value !== now.q) $("search").value = now.q;
  $("group").value = now.group;
  $("tag").value = now.tag;
  $("internal").checked = now.internal === "1";
  if (now.view !== before?.view) {
    if (now.view === "alerts") alerts.show();
    if (now.view === "events") events.show();
    if (now.view === "sync") sync.show();
  }
  drawer.follow();
  relist();
}

onState(show);
document.addEventListener("click", follow);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("search").addEventListener("input", () => go({ q: $("search").value }, true));
$("group").addEventListener("change", () => go({ group: $("group").value }));
$("tag").addEventListener("change", () => go({ tag: $("tag").value }));
$("internal").addEventListener("change", () => go({ internal: $("internal").checked ? "1" : "" }));

// === Keys ===

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "Escape") {
    if (typing === $("search")) {
      go({ q: "" }, true);
      table.focusActive();
    } else if (drawer.name !== null) drawer.close();
    return;
  }
  if (typing === $("search") && (event.key === "ArrowDown" || event.key === "Enter")) {
    event.preventDefault();
    table.focusActive();
    return;
  }
  if (typing) return;
  if (event.key === "?") keys();
  else if (event.key === "/") {
    event.preventDefault();
    if (state.view !== "services") go({ view: "" });
    $("search").focus();
    $("search").select();
  } else if (event.key === "t") turn();
  else if (["ArrowDown", "ArrowUp", "j", "k"].includes(event.key) && event.target === document.body && state.view === "services") {
    event.preventDefault();
    table.focusActive();
  }
});

function keys() {
  const known = [
    ["/", "search; Esc clears it"],
    ["↓ ↑ or j k", "through the services"],
    ["Enter", "open a service; Esc closes it"],
    ["← →", "between its tabs"],
    ["t", "light or dark"],
  ];
  ask({
    title: "Keys",
    fields: [h("dl", { class: "keys" }, ...known.map(([key, words]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, words))))],
    button: "Close",
    act: async () => {},
  });
}

// === Light and dark ===

function turn() {
  const dark = getComputedStyle(document.documentElement).colorScheme.startsWith("dark");
  paint(dark ? "light" : "dark");
  try {
    localStorage.setItem("theme", dark ? "light" : "dark");
  } catch {
    // Not kept: then it is the system's again next time.
  }
}

function paint(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

$("theme").addEventListener("click", turn);
try {
  paint(localStorage.getItem("theme"));
} catch {
  // As the system has it.
}

// === Who we are ===

async function known() {
  try {
    const session = await get("/api/session");
    who.signedIn = session.signed_in;
    who.locked = session.must_sign_in && !session.signed_in;
    who.host = session.host ?? "";
    who.offers = session.offers ?? [];
    text($("sign"), who.signedIn ? "Sign out" : "Sign in");
    const ours = new URL(import.meta.url).pathname.split("/").at(-2);
    if (session.page !== ours && !known.said) {
      known.said = true;
      $("toasts").append(h("p", { class: "toast" }, "The supervisor was upgraded. ", h("button", { type: "button", class: "small", onclick: () => location.reload() }, "Reload this page")));
    }
    summarise();
    drawer.draw();
    if (state.view === "alerts") alerts.show();
  } catch {
    // The signal says that nothing comes.
  }
}

function signedIn() {
  toast("You are signed in");
  known().then(() => {
    // What was locked is read anew.
    if (drawer.name !== null) drawer.choose(state.tab);
    begin();
    sync.reload();
  });
}

onSignedOut(() => {
  who.signedIn = false;
  text($("sign"), "Sign in");
});

$("sign").addEventListener("click", async () => {
  if (!who.signedIn) {
    who.signIn();
    return;
  }
  await post("/logout");
  toast("You are signed out");
  await known();
  // What is shown is not for strangers then, and the stream goes on for who has opened it.
  if (who.locked) location.reload();
});

// === Begin ===

/** An address that signs in: the code is used, and is gone from the address. */
async function arrive() {
  if (location.pathname !== "/login") return;
  const code = location.hash.slice(1);
  history.replaceState(null, "", "/");
  if (!code) {
    who.signIn();
    return;
  }
  try {
    await post("/login", { code });
    toast("You are signed in");
  } catch (error) {
    toast(error.message, true);
  }
}

let begun = false;

/** Begins to listen, once who asks may. */
function begin() {
  if (who.locked) {
    feed.say("locked");
    feed.hear.locked();
    return;
  }
  if (begun) {
    feed.hurry();
    return;
  }
  begun = true;
  feed.polls = !who.offers.includes("stream");
  feed.run();
  alerts.reload();
}

show(state);
await arrive();
await known();
begin();
sync.reload();
setInterval(tick, 1000);
setInterval(() => sync.reload(), 15_000);
setInterval(() => {
  if (state.view === "services" && !document.hidden) table.soon();
}, 20_000);
