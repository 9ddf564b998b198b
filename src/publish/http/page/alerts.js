// @ts-check
// Alerts as a feed, to acknowledge and to silence.

import { post, why } from "./api.js";
import { askAcknowledge, askSilence } from "./dialogs.js";
import { h, renew } from "./dom.js";
import { clock, count, moment } from "./format.js";
import { emit, on, refreshAlerts, state } from "./store.js";

/** @typedef {import("./types.js").Alert} Alert */

/** @type {Record<string, number>} */
export const RANK = { notice: 1, warning: 2, critical: 3 };
/** What is seen without colours. @type {Record<string, string>} */
export const SIGNS = { notice: "●", warning: "▲", critical: "■" };
/** @type {Record<string, string>} */
const VERDICTS = { beam: "most likely the beam", chemistry: "most likely the chemistry", instrument: "most likely the instrument", undecided: "cause not decided" };
const MOST_SHOWN = 30;

/** Open before over, unattended before the rest, then the more urgent, then the newer. @param {Alert} a @param {Alert} b */
function order(a, b) {
  const weight = (/** @type {Alert} */ alert) => (alert.state === "raised" ? 100 : 0) + (alert.acknowledged || alert.silenced ? 0 : 10) + RANK[alert.level];
  return weight(b) - weight(a) || b.time.localeCompare(a.time);
}

/** @param {Alert} alert @param {"acknowledge"|"silence"} what @returns {Promise<string>} what went wrong, empty where nothing did */
export async function attend(alert, what) {
  const wish = await (what === "acknowledge" ? askAcknowledge(alert) : askSilence(alert));
  if (!wish) return "";
  try {
    await post(`/api/v1/alerts/${encodeURIComponent(alert.id)}/${what}`, wish);
    refreshAlerts();
    return "";
  } catch (error) {
    return `Not done: ${why(error)}.`;
  }
}

export class AlertsPanel {
  #scan = "";
  #ends;

  constructor() {
    this.answer = h("p", { class: "answer", role: "status" });
    this.list = h("ul", { class: "alert-list", "aria-live": "polite", test: "alert-list" });
    this.title = h("h2", { text: "Alerts" });
    this.element = h("section", { class: "card alerts", id: "alerts", tabindex: "-1", "aria-label": "Alerts", test: "alerts" }, h("header", {}, this.title), this.answer, this.list);
    this.#ends = on("alerts", () => this.#show());
    this.#show();
  }

  close() {
    this.#ends();
  }

  /** @param {string} scanId whose alerts that are over are shown as well */
  setScan(scanId) {
    if (this.#scan === scanId) return;
    this.#scan = scanId;
    this.#show();
  }

  #show() {
    const shown = state.alerts.filter((alert) => alert.state === "raised" || alert.scan_id === this.#scan).sort(order);
    const open = shown.filter((alert) => alert.state === "raised").length;
    this.title.textContent = open === 0 ? "Alerts" : `Alerts, ${open} open`;
    // When it was heard last changes all the time, and is no news.
    const key = JSON.stringify([state.alertsProblem, this.#scan, shown.map((alert) => ({ ...alert, heard: "" }))]);
    renew(this.list, key, () => [
      state.alertsProblem !== "" && h("li", { class: "alert warning", text: `The alerts cannot be read: ${state.alertsProblem}.` }),
      shown.length === 0 && state.alertsProblem === "" && h("li", { class: "quiet none", text: "None. All is quiet." }),
      ...shown.slice(0, MOST_SHOWN).map((alert) => this.#item(alert)),
      shown.length > MOST_SHOWN && h("li", { class: "quiet", text: `and ${count(shown.length - MOST_SHOWN, "more", "more")}` }),
    ]);
  }

  /** @param {Alert} alert */
  #lift(alert) {
    return h("button", { type: "button", class: "small", text: "Lift the silence", test: "lift", on: { click: async () => {
      try {
        await post(`/api/v1/silences/${alert.silence?.number}/lift`, {});
        this.answer.textContent = "";
        refreshAlerts();
      } catch (error) {
        this.answer.textContent = `Not done: ${why(error)}.`;
      }
    } } });
  }

  /** @param {Alert} alert */
  #item(alert) {
    const over = alert.state === "over";
    const attended = alert.acknowledged || alert.silenced || over;
    const act = (/** @type {"acknowledge"|"silence"} */ what, /** @type {string} */ text) => h("button", {
      type: "button", class: "small", text, test: what, "aria-label": `${text}: ${alert.text}`, on: { click: async () => (this.answer.textContent = await attend(alert, what)) },
    });
    const tags = [alert.test && "test", alert.simulated && !alert.test && "simulated", over && "over"].filter(Boolean);
    const done = [
      alert.acknowledgement && alert.acknowledged && `acknowledged by ${alert.acknowledgement.by}${alert.acknowledgement.note ? ` (${alert.acknowledgement.note})` : ""}`,
      alert.silence && alert.silenced && `silenced by ${alert.silence.by}${alert.silence.until ? ` until ${clock(alert.silence.until)}` : ""}`,
    ].filter(Boolean).join(", ");
    const evidence = [...alert.evidence_for.map((text) => h("li", { class: "for", text: `for: ${text}` })), ...alert.evidence_against.map((text) => h("li", { class: "against", text: `against: ${text}` }))];
    return h("li", { class: `alert ${alert.level} ${attended ? "attended" : ""}`, data: { level: alert.level } },
      h("p", { class: "alert-head" }, h("span", { class: "sign", "aria-hidden": "true", text: SIGNS[alert.level] }), h("strong", { text: alert.level }), ...tags.map((tag) => h("span", { class: "badge", text: String(tag) })),
        h("time", { datetime: alert.time, title: moment(alert.time), text: clock(alert.time) }), alert.scan_id !== this.#scan && h("a", { href: `#/live/${encodeURIComponent(alert.scan_id)}`, text: alert.scan_id })),
      h("p", { class: "alert-text", text: alert.text }),
      alert.advice !== "" && !over && h("p", { class: "alert-advice", text: alert.advice }),
      evidence.length > 0 && h("details", {}, h("summary", { text: VERDICTS[alert.verdict] ?? alert.verdict }), h("ul", {}, ...evidence)),
      done !== "" && h("p", { class: "quiet", text: done }),
      over ? null : h("p", { class: "alert-buttons" }, !alert.acknowledged && act("acknowledge", "Acknowledge"), alert.silenced ? this.#lift(alert) : act("silence", "Silence …")));
  }
}

/** The bar that is seen across the room, for critical alerts that nobody attends to. @param {HTMLElement} bar */
export function showCriticalBar(bar) {
  const answer = h("span", { role: "status" });
  const update = () => {
    const critical = state.alerts.filter((alert) => alert.state === "raised" && alert.level === "critical" && !alert.acknowledged && !alert.silenced).sort(order);
    bar.hidden = critical.length === 0;
    const [first] = critical;
    renew(bar, critical.map((alert) => alert.id + alert.text).join("\n"), () => (first ? [
      h("span", { class: "sign", "aria-hidden": "true", text: SIGNS.critical }),
      h("span", { class: "critical-text" }, h("strong", { text: first.test ? "Critical (test)" : first.simulated ? "Critical (simulated)" : "Critical" }), ` ${first.scan_id}: ${first.text}`, first.advice ? h("em", { text: first.advice }) : null),
      critical.length > 1 ? h("span", { class: "badge", text: `+${critical.length - 1}` }) : null,
      h("button", { type: "button", text: "Acknowledge", on: { click: async () => (answer.textContent = await attend(first, "acknowledge")) } }),
      answer,
    ] : []));
  };
  on("alerts", update);
  emit("alerts");
}
