// What is looked at is in the address: to be sent to somebody, reloaded, gone back to.

const DEFAULTS = { view: "services", q: "", level: "", tag: "", group: "", service: "", tab: "overview", range: "1h", internal: "" };

function read() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(Object.entries(DEFAULTS).map(([key, value]) => [key, query.get(key) ?? value]));
}

const listeners = new Set();
export let state = read();

export const onState = (then) => listeners.add(then);

/** The address with these changes. */
export function address(changes) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...state, ...changes })) {
    if (value && value !== DEFAULTS[key]) query.set(key, value);
  }
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

/** Changes what is looked at; `quietly` without a step to go back to. */
export function go(changes, quietly = false) {
  const next = address(changes);
  if (next === location.pathname + location.search) return;
  history[quietly ? "replaceState" : "pushState"](null, "", next);
  tell();
}

function tell() {
  const before = state;
  state = read();
  for (const then of listeners) then(state, before);
}

addEventListener("popstate", tell);

/** Follows a link of ours without loading the page again. */
export function follow(event) {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) {
    return;
  }
  const link = event.target.closest?.("a[href]");
  if (!link || link.target || link.origin !== location.origin || link.pathname !== "/" || link.hash) return;
  event.preventDefault();
  const next = link.pathname + link.search;
  if (next === location.pathname + location.search) return;
  history.pushState(null, "", next);
  tell();
}

export const levels = () => new Set(state.level.split(",").filter(Boolean));
