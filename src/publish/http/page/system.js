// @ts-check
// The machine behind it: what is wrong, in words first; then sources, queues, model, references, disk.

import { Latest, getJson, isWithdrawn, post, why } from "./api.js";
import { fill, h, swatch } from "./dom.js";
import { bytes, capital, count, duration, moment, number, percent, whole } from "./format.js";
import { on } from "./store.js";

/** @typedef {import("./types.js").System} System */

const EVERY_MS = 3000;

/** What is wrong or soon will be, the grave first. @param {System} system @returns {{ text: string, grave: boolean }[]} */
export function complaints(system) {
  const list = system.troubles.map((trouble) => ({ text: `${trouble.part}: ${trouble.what}`, grave: trouble.grave }));
  for (const source of system.sources) {
    if (!source.connected) list.push({ text: `Source ${source.name}: nobody is connected at ${source.address}`, grave: false });
    else if (source.last_message_s !== null && source.last_message_s > 60) list.push({ text: `Source ${source.name}: nothing came for ${duration(source.last_message_s)}`, grave: false });
    if (source.last_error) list.push({ text: `Source ${source.name}: ${source.last_error}`, grave: false });
    if (source.lost) list.push({ text: `Source ${source.name}: ${count(source.lost, "message")} did not come`, grave: false });
    if (source.refused) list.push({ text: `Source ${source.name}: ${count(source.refused, "message")} could not be read`, grave: false });
  }
  for (const queue of system.queues) {
    if (queue.used !== null && queue.bound > 0 && queue.used / queue.bound > 0.8) list.push({ text: `Queue ${queue.name} is ${percent(queue.used / queue.bound, 0)} full`, grave: false });
    if (queue.dropped) list.push({ text: `Queue ${queue.name}: ${whole(queue.dropped)} dropped`, grave: false });
  }
  for (const disk of system.disk) {
    if (disk.total_bytes > 0 && disk.free_bytes / disk.total_bytes < 0.05) list.push({ text: `The disk of the ${disk.what} has ${bytes(disk.free_bytes)} left`, grave: disk.free_bytes < 1e9 });
  }
  if (system.model.state === "trouble") list.push({ text: `The model is not in use: ${system.model.why ?? "no reason is given"}`, grave: false });
  if (system.archive.waiting > 0) list.push({ text: `${count(system.archive.waiting, "scan")} waits to be archived`.replace("scans waits", "scans wait"), grave: false });
  return list.sort((a, b) => Number(b.grave) - Number(a.grave));
}

export class SystemView {
  #latest = new Latest();
  /** @type {(() => void)[]} */
  #ends = [];

  constructor() {
    this.name = "System";
    this.verdict = h("section", { class: "card verdict-card", "aria-label": "What is wrong", role: "status", test: "verdict" });
    this.body = h("div", { class: "system-grid", test: "system-grid" });
    this.answer = h("span", { class: "quiet", role: "status" });
    this.load = h("button", { type: "button", class: "small", hidden: true, text: "Look at the model file again", on: { click: () => this.#loadModel() } });
    this.element = h("div", { class: "view system", test: "system" }, h("div", { class: "view-head" }, h("h1", { text: "System" }), this.load, this.answer), this.verdict, this.body);
    const timer = setInterval(() => { if (!document.hidden) this.#ask(); }, EVERY_MS);
    this.#ends.push(() => clearInterval(timer), on("health", () => this.#ask()));
    this.#ask();
  }

  close() {
    for (const end of this.#ends) end();
    this.#latest.stop();
  }

  #ask() {
    this.#latest.ask(async (signal) => {
      try {
        this.#show(await getJson("/api/v1/system", { signal }));
      } catch (error) {
        if (isWithdrawn(signal)) return;
        this.#say([{ text: why(error), grave: true }], "The state of the system is not known.");
      }
    });
  }

  /** @param {{ text: string, grave: boolean }[]} list @param {string} [headline] */
  #say(list, headline) {
    const key = JSON.stringify(list);
    if (this.verdict.dataset.key === key) return;
    this.verdict.dataset.key = key;
    const grave = list.some((one) => one.grave);
    this.verdict.classList.toggle("grave", grave);
    this.verdict.classList.toggle("well", list.length === 0);
    fill(this.verdict, h("p", { class: "big", text: headline ?? (list.length === 0 ? "All is well." : grave ? "Measured values are at risk." : "It runs. Somebody should look at this:") }),
      list.length > 0 && h("ul", {}, ...list.map((one) => h("li", { class: one.grave ? "grave" : "" }, h("span", { class: "sign", "aria-hidden": "true", text: one.grave ? "■" : "▲" }), one.text))));
  }

  /** @param {System} system */
  #show(system) {
    this.#say(complaints(system));
    this.load.hidden = !system.can.load_model;
    const pairs = (/** @type {[string, string][]} */ rows) => h("dl", { class: "pairs" }, ...rows.flatMap(([name, value]) => [h("dt", { text: name }), h("dd", { text: value })]));
    const meter = (/** @type {number} */ share, /** @type {string} */ label) => {
      const bar = h("span", { class: `bar-fill ${share > 0.95 ? "bad" : share > 0.8 ? "warn" : ""}` });
      bar.style.width = `${Math.min(100, 100 * share)}%`;
      return h("span", { class: "bar-track", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * share) }, bar);
    };
    const card = (/** @type {string} */ title, /** @type {import("./dom.js").Child[]} */ ...content) => h("section", { class: "card", "aria-label": title }, h("header", {}, h("h2", { text: title })), ...content);
    const sources = system.sources.map((source) => h("div", { class: "source" },
      h("p", { class: "title-row" }, h("strong", { text: source.name }), h("span", { class: `badge ${source.connected ? "state-running" : "warn"}`, text: source.connected ? "connected" : "not connected" })),
      pairs([["rate", `${number(source.messages_per_s, 3)} messages/s, ${bytes(source.bytes_per_s)}/s`], ["in all", `${whole(source.messages)} messages, ${bytes(source.bytes)}`], ["last", source.last_message_s === null ? "never" : `${duration(source.last_message_s)} ago`],
        ["lost, refused", `${source.lost === null ? "–" : whole(source.lost)}, ${source.refused === null ? "–" : whole(source.refused)}`], ["address", `${source.address} (${source.kind})`]])));
    const queues = h("ul", { class: "bars" }, ...system.queues.map((queue) => h("li", { title: queue.about }, h("span", { class: "name", text: queue.name }), meter(queue.bound > 0 ? (queue.used ?? 0) / queue.bound : 0, `${queue.name}: ${queue.about}`),
      h("span", { class: "value", text: queue.unit === "bytes" ? bytes(queue.used) : whole(queue.used) }), queue.dropped ? h("span", { class: "badge warn", text: `${whole(queue.dropped)} dropped` }) : null)));
    const disks = h("ul", { class: "bars" }, ...system.disk.map((disk) => h("li", { title: disk.path }, h("span", { class: "name", text: disk.what }), meter(disk.total_bytes > 0 ? 1 - disk.free_bytes / disk.total_bytes : 0, `${disk.what} disk, used`), h("span", { class: "value", text: `${bytes(disk.free_bytes)} free` }))));
    const { model, references } = system;
    const key = (/** @type {string|null} */ sha) => (sha ? sha.slice(0, 12) : "–");
    fill(this.body,
      card("Sources", ...(sources.length > 0 ? sources : [h("p", { class: "quiet", text: "None is configured." })])),
      card("Queues", queues), card("Disk", disks, pairs([["archive", [system.archive.root, system.archive.scans === undefined ? "" : count(system.archive.scans, "scan"), `${whole(system.archive.waiting)} waiting`].filter(Boolean).join(", ")]])),
      card("Model", h("p", {}, h("strong", { text: model.name ?? model.path?.split("/").pop() ?? "none" }), ` ${model.state}`, model.why ? `: ${model.why}` : ""), pairs([["file", model.path ?? "–"], ["sha256", key(model.sha256)], ["clusters", model.clusters?.join(", ") || "–"]])),
      card("References", h("ul", { class: "phases" }, ...references.phases.map((phase) => h("li", {}, swatch(phase.colour), phase.title, phase.state ? h("span", { class: "quiet", text: ` ${phase.state.name} ${phase.state.value}` }) : null))), pairs([["folder", references.path ?? "–"], ["sha256", key(references.sha256)]])),
      card("Daemon", pairs([["version", system.version], ["running for", duration(system.uptime_s)], ["started", moment(system.started)], ["publishes at", `${system.publish.address}, ${count(system.publish.subscribers, "subscriber")}`], ["reading", system.token_needed_to_read ? "wants a token" : "is open"]]),
        h("p", {}, h("a", { href: "/api/v1/openapi.json", target: "_blank", rel: "noopener", text: "Description of the API" }))));
  }

  async #loadModel() {
    this.answer.textContent = "Looking …";
    try {
      /** @type {{ state: string, why: string|null }} */
      const answer = await post("/api/v1/model", {});
      this.answer.textContent = `${capital(answer.state)}${answer.why ? `: ${answer.why}` : ""}.`;
    } catch (error) {
      this.answer.textContent = `Not done: ${why(error)}.`;
    }
    this.#ask();
  }
}
