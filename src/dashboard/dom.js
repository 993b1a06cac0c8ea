// Elements without markup in strings: what services say is text and stays text.

/** An element: `h("p", {class: "x", onclick: f}, "text", child)`. Null children are left out. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** The same for SVG. */
export function s(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  set(element, attributes);
  element.append(...children);
  return element;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
}

/** An icon of the sprite in index.html. */
export function icon(name) {
  const use = s("use", { href: `#i-${name}` });
  return s("svg", { class: `icon icon-${name}`, "aria-hidden": "true" }, use);
}

/** Sets a text where it differs: what stays the same costs no layout. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Sets or takes away an attribute where it differs. */
export function attribute(element, name, value) {
  if (value == null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

export const $ = (id) => document.getElementById(id);

/** Whether the user would rather not see things move. */
export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Calls a function once for many requests of a frame's time or longer. */
export function coalesce(work, wait) {
  let timer = null;
  let last = 0;
  return () => {
    if (timer !== null) return;
    const delay = Math.max(0, last + wait - performance.now());
    timer = setTimeout(() => {
      timer = null;
      last = performance.now();
      work();
    }, delay);
  };
}
