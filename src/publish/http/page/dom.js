// @ts-check
// Elements, built from text and attributes only: nothing that came over the wire is ever read as markup.

/** @typedef {Node|string|number|null|undefined|false} Child */
/** @typedef {Record<string, any>} Attributes */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Sets attributes: `on` holds listeners, `data` the dataset, `class`, `text`; booleans set or leave out.
 * @param {Element} element
 * @param {Attributes} attributes
 */
function dress(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [kind, listener] of Object.entries(value)) element.addEventListener(kind, listener);
    } else if (name === "test") {
      element.setAttribute("data-test", value);
    } else if (name === "data") {
      for (const [key, word] of Object.entries(value)) element.setAttribute(`data-${key}`, String(word));
    } else if (name === "text") {
      element.textContent = value;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  dress(element, attributes);
  add(element, children);
  return element;
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  dress(element, attributes);
  add(element, children);
  return element;
}

/** @param {Element} parent @param {Child[]} children */
function add(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Replaces what is in `parent`, but only where it is news: then nothing is read aloud twice, and no button goes from
 * under the pointer. `key` says what is shown.
 * @param {Element} parent
 * @param {string} key
 * @param {() => Child[]} make
 */
export function renew(parent, key, make) {
  if (parent.getAttribute("data-key") === key) return;
  parent.setAttribute("data-key", key);
  fill(parent, ...make());
}

/** @param {Element} parent @param {...Child} children */
export function fill(parent, ...children) {
  parent.replaceChildren();
  add(parent, children);
}

/** @param {string} id */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no ${id}`);
  return element;
}

/**
 * Says something to those who listen instead of looking.
 * @param {string} text
 */
export function say(text) {
  const place = byId("say");
  if (place.textContent !== text) place.textContent = text;
}

/** @param {ArrayLike<number>} colour */
export const rgb = (colour) => `rgb(${colour[0]}, ${colour[1]}, ${colour[2]})`;

/**
 * A swatch in a colour that came with the data.
 * @param {ArrayLike<number>|string} colour
 * @param {string} [pattern]
 */
export function swatch(colour, pattern = "") {
  const mark = h("span", { class: `swatch ${pattern}`, "aria-hidden": "true" });
  mark.style.backgroundColor = typeof colour === "string" ? colour : rgb(colour);
  return mark;
}

/**
 * Keeps a word on this machine, where the browser lets us.
 * @param {string} key
 * @param {string} value
 */
export function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // It is asked for again, then.
  }
}

/** @param {string} key */
export function kept(key) {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

/**
 * Whether an element is in sight; nothing is fetched for what is not.
 * @param {Element} element
 * @param {(seen: boolean) => void} tell
 */
export function watchSight(element, tell) {
  const observer = new IntersectionObserver((entries) => tell(entries.some((entry) => entry.isIntersecting)), { rootMargin: "200px" });
  observer.observe(element);
  return () => observer.disconnect();
}
