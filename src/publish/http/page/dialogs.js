// @ts-check
// What is asked in a dialog: the token, who one is, how long to be silent; and the overview of keys.

import { setToken, whenRefused } from "./api.js";
import { h, keep, kept } from "./dom.js";

/**
 * Opens a dialog with a form; answers with the form's data, or null where it was closed.
 * @param {string} title
 * @param {Node[]} content
 * @param {string} yes
 * @param {string} test
 * @returns {Promise<FormData|null>}
 */
function ask(title, content, yes, test) {
  return new Promise((answer) => {
    const back = document.activeElement;
    const form = h("form", { method: "dialog" }, h("h2", { text: title, id: "dialog-title" }), ...content, h("div", { class: "buttons" },
      h("button", { type: "button", text: "Cancel", on: { click: () => dialog.close() } }), h("button", { class: "primary", type: "submit", value: "yes", text: yes })));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", test }, form);
    /** @type {FormData|null} */
    let data = null;
    form.addEventListener("submit", () => (data = new FormData(form)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (back instanceof HTMLElement) back.focus();
      answer(data);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function askForTokens() {
  whenRefused(async () => {
    const data = await ask("This daemon asks for a token", [
      h("p", { class: "quiet", text: "Whoever runs phasewatch knows it. It is kept until this window is closed." }),
      h("label", {}, "Token", h("input", { name: "token", type: "password", autocomplete: "off", required: true, autofocus: true })),
      h("label", { class: "tick" }, h("input", { name: "remember", type: "checkbox" }), "Remember on this machine"),
    ], "Go on", "token-dialog");
    const token = String(data?.get("token") ?? "").trim();
    if (token === "") return false;
    setToken(token, data?.get("remember") === "on");
    return true;
  });
}

const whoField = () => h("label", {}, "You are", h("input", { name: "by", maxlength: "100", required: true, autocomplete: "name", value: kept("by"), autofocus: kept("by") === "" }));
const noteField = () => h("label", {}, "Note, if you like", h("input", { name: "note", maxlength: "1000", autocomplete: "off" }));

/** @param {FormData} data */
function whoAndNote(data) {
  const by = String(data.get("by") ?? "").trim();
  const note = String(data.get("note") ?? "").trim();
  keep("by", by);
  return note === "" ? { by } : { by, note };
}

/** @param {import("./types.js").Alert} alert */
export async function askAcknowledge(alert) {
  const data = await ask("Acknowledge", [h("p", { text: alert.text }), h("p", { class: "quiet", text: "It stays in sight, and there are no more reminders." }), whoField(), noteField()], "Acknowledge", "acknowledge-dialog");
  return data && whoAndNote(data);
}

/** @param {import("./types.js").Alert} alert */
export async function askSilence(alert) {
  const option = (/** @type {string} */ value, /** @type {string} */ text) => h("option", { value, text });
  const data = await ask("Silence", [
    h("p", { text: alert.text }),
    h("p", { class: "quiet", text: "It is shown and not told, at higher levels neither." }),
    h("label", {}, "For", h("select", { name: "for_s" }, option("600", "10 minutes"), option("3600", "an hour"), option("28800", "8 hours"), option("", "as long as its scan is known"))),
    h("label", {}, "What", h("select", { name: "scope" }, option("alert", "this alert"), option("scan", "all alerts of this scan"), option("signal", `all alerts of ${alert.signal.replaceAll("_", " ")}`),
      ...(alert.sample ? [option("sample", `all alerts of sample ${alert.sample}`)] : []))),
    whoField(), noteField(),
  ], "Silence", "silence-dialog");
  if (!data) return null;
  const seconds = String(data.get("for_s"));
  const scope = String(data.get("scope"));
  // Without an end it has to be for one alert or scan.
  const end = seconds !== "" ? { for_s: Number(seconds) } : scope === "alert" || scope === "scan" ? {} : { for_s: 28800 };
  return { ...whoAndNote(data), ...end, scope: [scope] };
}

/** @param {string} title @param {string} text @param {string} yes */
export const confirmed = async (title, text, yes) => (await ask(title, [h("p", { text })], yes, "confirm-dialog")) !== null;

/** @type {[string, [string, string][]][]} */
const KEYS = [
  ["Anywhere", [["?", "this overview"], ["l", "live"], ["h", "history"], ["s", "system"], ["m", "to the map"], ["a", "to the alerts"], ["d", "light, dark, or as the system has it"]]],
  ["Scan", [["1 … 9", "layers, in the order of the buttons"], ["[  ]", "one energy down, up (optical density)"], ["f", "follow the newest scan"], ["p", "outlines of the particles"], ["c", "clear pin, region and brush"]]],
  ["Map (when it has the focus)", [["arrows", "move the cursor, with Shift by ten"], ["Enter", "pin the pixel and show its spectrum"], ["r", "begin a rectangle at the cursor; Enter ends it"], ["Alt + arrows", "move the map"], ["+  −  0", "nearer, farther, fit"], ["Esc", "take back tool, region, pin"]]],
  ["Mouse and touch", [["wheel, pinch", "zoom"], ["drag", "move the map, or draw with a region tool"], ["click", "pin the pixel"], ["double click", "fit"]]],
];

export function showKeys() {
  if (document.querySelector("dialog[open]")) return;
  const table = (/** @type {[string, string][]} */ rows) => h("dl", { class: "keys" }, ...rows.flatMap(([key, what]) => [h("dt", {}, h("kbd", { text: key })), h("dd", { text: what })]));
  const dialog = h("dialog", { class: "wide", "aria-label": "Keys", test: "keys-dialog" }, h("h2", { text: "Keys" }), h("div", { class: "key-groups" }, ...KEYS.map(([title, rows]) => h("section", {}, h("h3", { text: title }), table(rows)))),
    h("div", { class: "buttons" }, h("button", { class: "primary", type: "button", text: "Close", autofocus: true, on: { click: () => dialog.close() } })));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
