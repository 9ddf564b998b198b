// @ts-check
// Two scans side by side, with one cursor and one zoom, and the pixels where their phases differ.

import { blend, grounds } from "./colours.js";
import { fill, h, swatch } from "./dom.js";
import { HistoryView, addressOf } from "./history.js";
import { percent, whole, words } from "./format.js";
import { paint, paintDifference } from "./map-paint.js";
import { MapView } from "./map-view.js";
import { ScanData } from "./scan-data.js";
import { on, state } from "./store.js";

/** @typedef {import("./types.js").View} View */
/** @typedef {import("./map-view.js").Pixel} Pixel */

/** The same pixel of a grid of the same shape, else the one at the same place; null outside. @param {Pixel} pixel @param {View} from @param {View} to @returns {Pixel|null} */
export function counterpart(pixel, from, to) {
  if (from.shape[0] === to.shape[0] && from.shape[1] === to.shape[1]) return pixel;
  if (from.unit !== to.unit) return null;
  const at = (/** @type {number} */ index, /** @type {0|1} */ axis) => Math.round((from.origin[axis] + index * from.step[axis] - to.origin[axis]) / to.step[axis]);
  const [row, column] = [at(pixel.row, 0), at(pixel.column, 1)];
  return row >= 0 && row < to.shape[0] && column >= 0 && column < to.shape[1] ? { row, column } : null;
}

/** Why two maps cannot be taken from one another; empty where they can. @param {View} a @param {View} b */
export function hindrance(a, b) {
  if (a.shape[0] !== b.shape[0] || a.shape[1] !== b.shape[1]) return `one map has ${a.shape[1]} × ${a.shape[0]} pixels, the other ${b.shape[1]} × ${b.shape[0]}: no pixel of one is the same place as a pixel of the other`;
  if (a.phases.some((phase) => !b.phases.some((other) => other.phase === phase.phase)) || b.phases.some((phase) => !a.phases.some((other) => other.phase === phase.phase))) return "they were mapped with different references: a phase of one is no phase of the other";
  return "";
}

/** What else people should know before they believe a difference. @param {View} a @param {View} b */
function cautions(a, b) {
  const list = [];
  const differs = (/** @type {number} */ x, /** @type {number} */ y) => Math.abs(x - y) > 1e-3 * Math.max(Math.abs(x), Math.abs(y), 1e-9);
  if (differs(a.step[0], b.step[0]) || differs(a.step[1], b.step[1])) list.push("their steps differ, so pixels are of different size");
  if (a.origin.some((value, axis) => Math.abs(value - b.origin[axis]) > 0.5 * Math.abs(a.step[axis]))) list.push("their origins differ: the same pixel may be another place");
  if (a.flip.some((value, axis) => value !== b.flip[axis])) list.push("their axes run in different directions");
  return list;
}

export class CompareView {
  /** @type {(() => void)[]} */
  #ends = [];

  /** @param {string[]} bases two */
  constructor(bases) {
    this.name = "Compare";
    this.note = h("p", { class: "big", role: "status", test: "difference" });
    this.caution = h("p", { class: "caution" });
    this.key = h("div", { class: "colour-key" });
    this.difference = new MapView("Where the phases differ", this.#linked(2));
    this.sides = bases.map((base, i) => {
      const reading = h("p", { class: "map-reading" });
      const title = h("a", { href: addressOf(base), text: decodeURIComponent(base.split("/").pop() ?? "") });
      const message = h("p", { class: "map-message" });
      const map = new MapView(`Phase map ${i + 1}`, this.#linked(i));
      map.host.append(message);
      const data = new ScanData(base, () => this.#paint());
      return { base, data, map, reading, message, about: h("p", { class: "quiet" }), element: h("section", { class: "card", "aria-label": `Scan ${i + 1}` }), title };
    });
    for (const side of this.sides) fill(side.element, h("header", {}, h("h2", {}, side.title)), side.about, side.map.host, side.reading);
    this.differenceCard = h("section", { class: "card", "aria-label": "Difference" }, h("header", {}, h("h2", { text: "Where they differ" })), h("p", { class: "quiet", text: "Of pixels that are decided in both." }), this.difference.host, this.note, this.key, this.caution);
    this.transitions = h("section", { class: "card", "aria-label": "What became what", test: "transitions" });
    this.element = h("div", { class: "view", test: "compare-view" }, h("div", { class: "view-head" }, h("h1", { text: "Compare" }), h("a", { href: HistoryView.last, text: "Back to the history" })),
      h("div", { class: "compare-grid" }, ...this.sides.map((side) => side.element), this.differenceCard), this.transitions);
    this.#ends.push(on("theme", () => this.#paint()));
    this.#read(null, null);
    for (const side of this.sides) side.data.refresh(null, state.epoch);
  }

  close() {
    for (const end of this.#ends) end();
    this.difference.close();
    for (const side of this.sides) {
      side.data.close();
      side.map.close();
    }
  }

  get maps() {
    return [...this.sides.map((side) => side.map), this.difference];
  }

  /** What one map does, the others do. @param {number} index @returns {import("./map-view.js").MapListener} */
  #linked(index) {
    const others = () => this.maps.filter((map, i) => i !== index && map.shape[1] > 0);
    return {
      camera: (camera) => {
        if (!this.sides || this.sides.length < 2) return;
        const own = this.maps[index];
        for (const map of others()) if (map.shape[0] === own.shape[0] && map.shape[1] === own.shape[1]) map.setCamera(camera, true);
      },
      hover: (pixel) => {
        const from = this.#viewOf(index);
        for (const [i, map] of this.maps.entries()) {
          const to = this.#viewOf(i);
          map.setShadow(pixel && from && to && i !== index ? counterpart(pixel, from, to) : null);
        }
        this.#read(pixel, from);
      },
    };
  }

  /** The difference is drawn on the grid of the second. @param {number} index */
  #viewOf(index) {
    return this.sides[Math.min(index, 1)].data.view;
  }

  /** @param {Pixel|null} at @param {View|null} from */
  #read(at, from) {
    for (const side of this.sides) {
      const { view } = side.data;
      const pixel = at && from && view ? counterpart(at, from, view) : null;
      if (!pixel || !view) {
        fill(side.reading, h("span", { class: "quiet", text: at ? "outside this map" : "Point at either map." }));
        continue;
      }
      const index = pixel.row * view.shape[1] + pixel.column;
      const phase = view.phases[side.data.values("phase")?.[index] ?? 255];
      fill(side.reading, h("span", { class: "value", text: `row ${pixel.row}, column ${pixel.column}` }), phase ? h("span", {}, swatch(phase.colour), h("strong", { text: phase.title })) : null, h("span", { text: words(view.statuses[side.data.values("status")?.[index] ?? 0] ?? "") }));
    }
  }

  #paint() {
    const ground = grounds();
    for (const side of this.sides) {
      const { view } = side.data;
      side.message.textContent = view ? "" : side.data.problem ? `There is no map to show: ${side.data.problem}.` : "Asking for the map …";
      side.message.hidden = view !== null;
      if (!view) continue;
      side.about.textContent = `${view.shape[1]} × ${view.shape[0]} pixels, ${view.energies.length} energies${view.simulated ? ", simulated" : ""}`;
      side.map.setGeometry(view);
      const painting = paint(side.data, "phase", ground);
      if (painting) side.map.setPainting(painting);
    }
    const [a, b] = this.sides.map((side) => side.data);
    if (!a.view || !b.view) return;
    const problem = hindrance(a.view, b.view);
    this.difference.host.hidden = this.transitions.hidden = problem !== "";
    this.key.hidden = problem !== "";
    if (problem) {
      this.note.textContent = `There is no difference map: ${problem}.`;
      return;
    }
    const [before, after] = [decided(a, b.view), decided(b, b.view)];
    if (!before || !after) return;
    this.caution.textContent = cautions(a.view, b.view).map((text) => `Mind that ${text}.`).join(" ");
    this.difference.setGeometry(b.view);
    const { painting, both, differ } = paintDifference(b.view, before, after, ground);
    this.difference.setPainting(painting);
    this.note.textContent = both === 0 ? "No pixel is decided in both." : `${percent(differ / both)} of ${whole(both)} pixels have another phase in ${this.sides[1].title.textContent}.`;
    fill(this.key, h("span", { text: "Colour: the phase in the second scan" }), h("span", { class: "key" }, swatch(blend(ground.empty, ground.ink, 0.22)), "alike"), h("span", { class: "key" }, swatch(blend(ground.empty, ground.ink, 0.6)), "decided in one only"));
    this.#table(a.view, b.view, before, after);
  }

  /** @param {View} a @param {View} b @param {ArrayLike<number>} before in the phases of b @param {ArrayLike<number>} after */
  #table(a, b, before, after) {
    const many = b.phases.length;
    const counts = new Uint32Array(many * many);
    for (let i = 0; i < before.length; i += 1) if (before[i] < many && after[i] < many) counts[before[i] * many + after[i]] += 1;
    const head = h("tr", {}, h("td", {}), ...b.phases.map((phase) => h("th", { scope: "col" }, swatch(phase.colour), phase.title)));
    const rows = b.phases.map((phase, from) => h("tr", {}, h("th", { scope: "row" }, swatch(phase.colour), phase.title), ...b.phases.map((_, to) => h("td", { class: from === to ? "same" : counts[from * many + to] > 0 ? "moved" : "quiet", text: whole(counts[from * many + to]) }))));
    fill(this.transitions, h("header", {}, h("h2", { text: "What became what" })), h("p", { class: "quiet", text: `Pixels that are decided in both, by their phase in ${a.scan_id} (rows) and in ${b.scan_id} (columns).` }), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of what became what" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows))));
  }
}

/** The phases of the pixels that are decided, by the numbers that they have in another view: a difference of two guesses is none. @param {ScanData} data @param {View} other */
function decided(data, other) {
  const phase = data.values("phase");
  const status = data.values("status");
  if (!phase || !status || !data.view) return null;
  const sure = ["classified", "mixture"].map((name) => data.view?.statuses.indexOf(name));
  const table = new Uint8Array(256).fill(255);
  for (const [i, one] of data.view.phases.entries()) {
    const at = other.phases.findIndex((candidate) => candidate.phase === one.phase);
    if (at >= 0) table[i] = at;
  }
  return Uint8Array.from(phase, (value, i) => (sure.includes(status[i]) ? table[value] : 255));
}
