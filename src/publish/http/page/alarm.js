// @ts-check
// What is seen of the page from elsewhere: its title and its icon say the gravest thing there is.

import { RANK, SIGNS } from "./alerts.js";
import { on, state, unattended } from "./store.js";

/** @type {Record<string, string>} */
const COLOURS = { lost: "#8a949d", critical: "#d5231b", warning: "#f0a30a", notice: "#3b82d0" };

/** @returns {"lost"|"critical"|"warning"|"notice"|"calm"} */
function gravest() {
  const levels = unattended().map((alert) => alert.level).sort((a, b) => RANK[b] - RANK[a]);
  if (levels[0] === "critical") return "critical";
  if (state.connection.state === "lost") return "lost";
  if (state.health.troubles.some((trouble) => trouble.grave)) return "critical";
  return levels[0] ?? "calm";
}

/** Five grains in the colours of the phases, or a sign. @param {string} what */
function icon(what) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const context = canvas.getContext("2d");
  if (!context) return "";
  if (what === "calm") {
    const grains = /** @type {[string, number, number, number][]} */ ([["#0072b2", 22, 22, 19], ["#56b4e9", 47, 17, 11], ["#009e73", 44, 44, 16], ["#e69f00", 18, 49, 12]]);
    for (const [colour, x, y, radius] of grains) {
      context.fillStyle = colour;
      context.beginPath();
      context.arc(x, y, radius, 0, 7);
      context.fill();
    }
    return canvas.toDataURL("image/png");
  }
  context.fillStyle = COLOURS[what];
  context.beginPath();
  if (what === "warning") {
    context.moveTo(32, 3);
    context.lineTo(63, 60);
    context.lineTo(1, 60);
  } else if (what === "critical") context.rect(2, 2, 60, 60);
  else context.arc(32, 32, 30, 0, 7);
  context.fill();
  context.fillStyle = what === "warning" ? "#201400" : "#ffffff";
  context.font = "bold 46px system-ui, sans-serif";
  context.textAlign = "center";
  context.fillText(what === "lost" ? "?" : "!", 32, what === "warning" ? 55 : 48);
  return canvas.toDataURL("image/png");
}

/** @param {() => string} name of what is shown */
export function showAlarms(name) {
  const link = document.createElement("link");
  link.rel = "icon";
  document.head.append(link);
  let shown = "";
  const update = () => {
    const what = gravest();
    const words = { lost: "? NO CONNECTION", critical: `${SIGNS.critical} CRITICAL`, warning: `${SIGNS.warning} WARNING`, notice: `${SIGNS.notice} Notice`, calm: "" }[what];
    document.title = [words, name(), "phasewatch"].filter(Boolean).join(" · ");
    document.body.dataset.alarm = what;
    if (what === shown) return;
    shown = what;
    link.href = icon(what);
  };
  for (const topic of /** @type {const} */ (["alerts", "connection", "health", "scans"])) on(topic, update);
  window.addEventListener("hashchange", () => setTimeout(update, 0));
  update();
}
