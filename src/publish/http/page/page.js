// @ts-check
// The page: where one is, which view that is, keys, theme, and what is said above everything else.

import { decoded, newToken, takeToken } from "./api.js";
import { showAlarms } from "./alarm.js";
import { showCriticalBar } from "./alerts.js";
import { CompareView } from "./compare.js";
import { askForTokens, showKeys } from "./dialogs.js";
import { byId, fill, h, keep, renew } from "./dom.js";
import { clock, duration } from "./format.js";
import { HistoryView } from "./history.js";
import { LiveView } from "./live.js";
import { ScanView } from "./scan-view.js";
import { emit, on, start, state } from "./store.js";
import { SystemView } from "./system.js";

/** @typedef {{ element: HTMLElement, name: string, close: () => void, scanView?: ScanView|null }} Screen */

/** @type {Screen|null} */
let screen = null;
let address = "";

/** A scan from the archive, in the same view as a live one. @param {string[]} parts beamline, date, name; still encoded @returns {Screen} */
function archived(parts) {
  document.body.dataset.generation = "0";
  const view = new ScanView(`/api/v1/archive/${parts.join("/")}`, "", [h("a", { class: "button small", href: HistoryView.last, text: "Back to the history" })]);
  return { element: view.element, name: decoded(parts[2]), close: () => view.close(), scanView: view };
}

/** @returns {Screen} */
function screenOf() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  if (view === "history") return new HistoryView(new URLSearchParams(query));
  if (view === "archive" && rest.length === 3) return archived(rest);
  if (view === "compare" && rest.length === 2) return new CompareView(rest.map(decoded));
  if (view === "system") return new SystemView();
  return new LiveView(view === "live" && rest[0] ? decoded(rest[0]) : "");
}

function route() {
  // One may be pasted into an open tab.
  if (location.hash.includes("token=")) takeToken();
  // The search of the history writes itself into the address; that is no other place.
  const wanted = location.hash.split("?")[0];
  if (screen && wanted === address) return;
  const moved = screen !== null;
  address = wanted;
  screen?.close();
  screen = screenOf();
  const main = byId("main");
  fill(main, screen.element);
  window.scrollTo(0, 0);
  // Those who listen are taken along; at the first time the browser has its own way.
  if (moved) main.focus({ preventScroll: true });
  const place = { history: "history", archive: "history", compare: "history", system: "system" }[wanted.split("/")[1] ?? ""] ?? "live";
  document.body.dataset.view = wanted.split("/")[1] || "live";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${place}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

const THEMES = ["auto", "light", "dark"];

function switchTheme() {
  const root = document.documentElement;
  const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? "auto") + 1) % THEMES.length];
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  keep("theme", theme);
  nameTheme();
  emit("theme");
}

function nameTheme() {
  const theme = document.documentElement.dataset.theme ?? "auto";
  const button = byId("theme");
  button.textContent = { auto: "◐", light: "○", dark: "●" }[theme] ?? "◐";
  button.title = { auto: "Light or dark as the system has it (d)", light: "Light (d)", dark: "Dark (d)" }[theme] ?? "";
  button.setAttribute("aria-label", `Theme: ${theme}`);
}

/** The connection and the troubles, above everything. */
function showBars() {
  const [bar, troubles, light] = [byId("connection-bar"), byId("trouble-bar"), byId("connection")];
  let lostFor = 0;
  const connection = () => {
    const { connection: now } = state;
    const lost = now.state === "lost" || (now.state === "connecting" && Date.now() - now.since > 3000);
    document.body.dataset.connection = lost ? "lost" : now.state;
    light.textContent = lost ? "no connection" : now.state === "open" ? "connected" : "connecting …";
    light.className = `connection ${lost ? "lost" : now.state}`;
    bar.hidden = !lost;
    lostFor = lost ? Date.now() - now.since : 0;
    if (lost) {
      const again = now.again === null ? "" : ` Trying again${now.again - Date.now() > 1500 ? ` in ${Math.ceil((now.again - Date.now()) / 1000)} s` : " now"}.`;
      renew(bar, now.why + now.since, () => [h("strong", { text: "No connection to the daemon" }), h("span", { text: ` since ${clock(now.since)}: ${now.why || "it does not answer"}. What is shown may be old.` }), h("span", { class: "value", id: "lost-for", "aria-hidden": "true" }),
        now.why.includes("token") && h("button", { type: "button", text: "Enter the token", on: { click: () => void newToken(true) } })]);
      byId("lost-for").textContent = `${duration(lostFor / 1000)}.${again}`;
    } else renew(bar, "", () => []);
  };
  on("connection", connection);
  setInterval(connection, 1000);
  on("health", () => {
    const list = state.health.troubles;
    const grave = list.some((trouble) => trouble.grave);
    troubles.hidden = list.length === 0;
    troubles.classList.toggle("grave", grave);
    renew(troubles, JSON.stringify(list), () => [
      h("ul", {}, ...[...list].sort((a, b) => Number(b.grave) - Number(a.grave)).slice(0, 4).map((trouble) => h("li", {}, trouble.grave ? h("strong", { text: "Values are at risk. " }) : null, `${trouble.part}: ${trouble.what}`))),
      h("a", { href: "#/system", text: list.length > 4 ? `and ${list.length - 4} more` : "System" }),
    ]);
  });
  connection();
}

/** @param {KeyboardEvent} event */
function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target instanceof Element && event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, dialog")) return;
  const view = screen?.scanView;
  const focus = (/** @type {string} */ selector) => {
    const element = document.querySelector(selector);
    if (element instanceof HTMLElement) element.focus();
  };
  /** @type {Record<string, (() => void)|undefined>} */
  const keys = {
    "?": showKeys, l: () => (location.hash = "#/live"), h: () => (location.hash = "#/history"), s: () => (location.hash = "#/system"), d: switchTheme,
    f: () => (location.hash = "#/live"), m: () => focus(".map-canvas"), a: () => focus("#alerts"),
    "[": view ? () => view.stepEnergy(-1) : undefined, "]": view ? () => view.stepEnergy(1) : undefined, c: view ? () => view.clear() : undefined, p: view ? () => view.particles.switchOutlines() : undefined,
  };
  const doing = keys[event.key] ?? (view && /^[1-9]$/.test(event.key) ? () => view.chooseLayer(Number(event.key) - 1) : undefined);
  if (!doing) return;
  event.preventDefault();
  doing();
}

takeToken();
askForTokens();
nameTheme();
byId("theme").addEventListener("click", switchTheme);
byId("keys").addEventListener("click", showKeys);
byId("skip").addEventListener("click", () => byId("main").focus());
document.addEventListener("keydown", key);
window.addEventListener("hashchange", route);
matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => emit("theme"));
showBars();
showCriticalBar(byId("critical-bar"));
showAlarms(() => screen?.name ?? "");
route();
start();
