// @ts-check
// The map with what goes around it: layers, tools, the key of the colours, the energies, and the numbers under the pointer.

import { SCALE, blend, grounds, wordColour } from "./colours.js";
import { EnergyStrip } from "./energy-strip.js";
import { fill, h, renew, rgb, say, swatch } from "./dom.js";
import { number, unitName, words } from "./format.js";
import { dim, paint, wordsOf } from "./map-paint.js";
import { MapView } from "./map-view.js";

/** @typedef {import("./scan-data.js").ScanData} ScanData */
/** @typedef {import("./types.js").LayerView} LayerView */
/** @typedef {import("./types.js").View} View */
/** @typedef {import("./map-view.js").Pixel} Pixel */

/** As it is painted. */
function saturated() {
  const { empty, ink } = grounds();
  return blend(empty, ink, 0.85);
}

/** Layers in the order in which they are looked at; the rest follows. */
const ORDER = ["phase", "confidence", "margin", "correlation", "status", "ambiguity", "unknown", "od", "dose", "energies_seen"];
/** How many layers have a button of their own; the rest is in a list. */
const BUTTONS = 10;
/** @type {LayerView} */
const UNKNOWN = { name: "unknown", title: "Unknown", unit: "", dtype: "u8", kind: "flag", low: 0, high: 1, about: "Pixels that no reference explains.", per_energy: false };
/** @type {Record<string, string>} */
const SHORT = { correlation: "Correlation", ambiguity: "Cause", od: "OD" };

export class MapCard {
  layer = "phase";
  energy = 0;
  /** @type {Uint8Array|null} Pixels that are lit up; null: all. */
  #lit = null;
  #lastAt = 0;
  #stretched = false;
  #reason = "";

  /**
   * @param {ScanData} data
   * @param {import("./map-view.js").MapListener} listener
   * @param {string} label
   */
  constructor(data, listener, label) {
    this.data = data;
    this.map = new MapView(label, {
      ...listener,
      hover: (pixel, byKeyboard) => {
        this.readout(pixel, byKeyboard);
        listener.hover?.(pixel, byKeyboard);
      },
      tool: (tool) => {
        for (const [name, button] of Object.entries(this.tools)) button.setAttribute("aria-pressed", String(name === tool));
      },
    });
    this.layers = h("div", { class: "chips", role: "group", "aria-label": "Layer", test: "layers" });
    this.reading = h("p", { class: "map-reading", test: "map-reading" });
    this.key = h("div", { class: "colour-key", test: "colour-key" });
    this.message = h("p", { class: "map-message", role: "status", test: "map-message" });
    this.mark = h("p", { class: "map-mark", hidden: true, text: "simulated" });
    this.stripHost = new EnergyStrip((index) => this.setEnergy(index));
    const tool = (/** @type {import("./map-hand.js").Tool} */ name, /** @type {string} */ sign, /** @type {string} */ title) =>
      h("button", { type: "button", title, "aria-label": title, "aria-pressed": String(name === "move"), test: `tool-${name}`, text: sign, on: { click: () => this.map.hand.setTool(name) } });
    this.tools = { move: tool("move", "✥", "Move the map (drag)"), rectangle: tool("rectangle", "▭", "Draw a rectangle"), lasso: tool("lasso", "◌", "Draw a lasso") };
    const press = (/** @type {string} */ sign, /** @type {string} */ title, /** @type {() => void} */ does) => h("button", { type: "button", title, "aria-label": title, text: sign, on: { click: does } });
    this.more = h("span", { class: "more-tools" });
    this.map.host.append(
      h("div", { class: "map-tools", role: "group", "aria-label": "Map" }, ...Object.values(this.tools), this.more, h("span", { class: "gap" }),
        press("+", "Nearer", () => this.map.zoom(1.4)), press("−", "Farther", () => this.map.zoom(1 / 1.4)), press("⤢", "Fit", () => this.map.fit())),
      this.message, this.mark,
    );
    this.under = h("div", { class: "map-under" }, this.reading);
    this.element = h("section", { class: "card map-card", "aria-label": "Map", test: "map" }, this.layers, this.map.host, this.under, this.key, this.stripHost.element);
  }

  close() {
    this.map.close();
  }

  /** What else the map shows: a button among the tools, and what it says below the map. @param {HTMLElement} tool @param {HTMLElement} reading */
  add(tool, reading) {
    this.more.append(tool);
    this.under.append(reading);
  }

  /** @returns {LayerView[]} */
  choices() {
    const there = this.data.view?.layers ?? [];
    const rank = (/** @type {LayerView} */ layer) => { const at = ORDER.indexOf(layer.name); return at < 0 ? ORDER.length : at; };
    return [...there, ...(there.length > 0 ? [UNKNOWN] : [])].sort((a, b) => rank(a) - rank(b));
  }

  /** @param {string} name */
  setLayer(name) {
    if (!this.choices().some((layer) => layer.name === name)) return;
    this.layer = name;
    this.data.show(name, this.energy);
    this.#choose();
    say(`Layer ${this.choices().find((layer) => layer.name === name)?.title}`);
  }

  /** Shows an energy: of the layer that is shown, where it has one image for each, else the optical density. @param {number} index */
  setEnergy(index) {
    const view = this.data.view;
    if (!view) return;
    this.energy = Math.min(view.energies.length - 1, Math.max(0, index));
    this.stripHost.select(this.energy);
    if (!this.data.isPerEnergy(this.layer)) {
      if (!view.layers.some((layer) => layer.name === "od")) return;
      this.layer = "od";
    }
    this.data.show(this.layer, this.energy);
    this.#choose();
  }

  /** Why there is no map, where one is not to be waited for. @param {string} reason */
  setReason(reason) {
    if (reason === this.#reason) return;
    this.#reason = reason;
    this.#say();
  }

  /** @param {Uint8Array|null} lit */
  light(lit) {
    this.#lit = lit;
    if (lit) document.body.dataset.lit = String(lit.reduce((sum, one) => sum + one, 0));
    else delete document.body.dataset.lit;
    this.paint(null);
  }

  /** Paints what there is; `at` is when the event came that led to it. @param {number|null} at */
  paint(at) {
    const { view } = this.data;
    this.#say();
    if (!view) return;
    this.map.setGeometry(view);
    this.mark.hidden = !view.simulated;
    const ground = grounds();
    const key = this.layer === "unknown" ? "unknown" : this.data.shown;
    const painting = paint(this.data, key, ground, this.#stretched);
    renew(this.layers, this.choices().map((layer) => layer.name).join(), () => this.#buttons());
    this.#choose();
    this.stripHost.show(view, this.data.isPerEnergy(this.layer) ? this.energy : null);
    if (!painting) return;
    if (this.#lit && this.#lit.length === painting.pixels.length) {
      dim(painting.pixels, this.#lit, ground.well);
      painting.hatched.clear();
    }
    if (at !== null) this.#lastAt = at;
    const since = at;
    this.map.setPainting(painting, () => {
      if (since !== null && since === this.#lastAt) document.body.dataset.shownMs = (performance.now() - since).toFixed(1);
      document.body.dataset.generation = String(this.data.generation);
      document.body.dataset.layer = this.layer;
    });
    this.#keyOf(view, painting.low, painting.high);
    this.readout(this.map.cursor, false);
  }

  #say() {
    const { data } = this;
    const text = data.view ? (data.problem ? `The map may be old: ${data.problem}.` : "") : data.waiting ? this.#reason || "No map yet. It appears with the first energies." : data.problem ? `There is no map to show: ${data.problem}.` : "Asking for the map …";
    if (this.message.textContent !== text) this.message.textContent = text;
    this.message.hidden = text === "";
    this.message.classList.toggle("over", data.view !== null);
  }

  #buttons() {
    const choices = this.choices();
    const title = (/** @type {LayerView} */ layer) => SHORT[layer.name] ?? layer.title;
    const more = choices.slice(BUTTONS);
    return [
      ...choices.slice(0, BUTTONS).map((layer, i) => h("button", { type: "button", class: "chip", "aria-pressed": "false", title: `${layer.about}${i < 9 ? ` (${i + 1})` : ""}`, data: { layer: layer.name }, text: title(layer), on: { click: () => this.setLayer(layer.name) } })),
      more.length > 0 && h("select", { class: "chip", "aria-label": "More layers", on: { change: (/** @type {Event} */ event) => this.setLayer(/** @type {HTMLSelectElement} */ (event.target).value) } },
        h("option", { value: "", text: "More …" }), ...more.map((layer) => h("option", { value: layer.name, text: layer.title }))),
    ];
  }

  #choose() {
    for (const button of this.layers.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.layer === this.layer));
    const select = this.layers.querySelector("select");
    if (select) {
      select.value = [...select.options].some((option) => option.value === this.layer) ? this.layer : "";
      select.classList.toggle("on", select.value !== "");
    }
  }

  /** @param {View} view @param {number} low @param {number} high */
  #keyOf(view, low, high) {
    const layer = this.choices().find((one) => one.name === this.layer);
    if (!layer) return;
    const status = this.data.values("status");
    const key = `${this.#stretched} ${layer.name} ${this.data.isPerEnergy(this.layer) ? this.energy : ""} ${low} ${high} ${view.phases.length} ${grounds().ink} ${layer.kind === "number" ? "" : this.data.revision}`;
    renew(this.key, key, () => {
      if (layer.kind === "number") {
        const bar = h("canvas", { class: "colour-bar", width: SCALE.length, height: 1, "aria-hidden": "true" });
        const context = bar.getContext("2d");
        for (const [i, colour] of SCALE.entries()) {
          if (!context) break;
          context.fillStyle = rgb(colour);
          context.fillRect(i, 0, 1, 1);
        }
        const at = layer.per_energy ? ` at ${number(view.energies[this.energy]?.energy_ev, 5)} eV` : "";
        return [h("span", { class: "value", text: number(low, 3) }), bar, h("span", { class: "value", text: number(high, 3) }), h("span", { class: "quiet", text: `${layer.title}${at}${layer.unit ? `, ${unitName(layer.unit)}` : ""}` }),
          h("button", { type: "button", class: "small", "aria-pressed": String(this.#stretched), title: "Colour what lies between the lowest and the highest 1 % of the values, or the whole range", text: this.#stretched ? "Whole range" : "Stretch", on: { click: () => {
            this.#stretched = !this.#stretched;
            this.paint(null);
          } } })];
      }
      const names = layer.kind === "category" ? wordsOf(view, layer.name) : [];
      const present = this.data.values(layer.name);
      const used = new Set(present ?? []);
      if (layer.name === "phase" && status) {
        const seen = new Set(status);
        const has = (/** @type {string} */ name) => seen.has(view.statuses.indexOf(name));
        return [
          ...view.phases.map((phase) => h("span", { class: "key" }, swatch(phase.colour), phase.title)),
          has("mixture") && h("span", { class: "key" }, swatch("transparent", "dotted"), "two phases"),
          has("ambiguous") && h("span", { class: "key" }, swatch("transparent", "striped"), "ambiguous: best guess, paler"),
          has("unknown") && h("span", { class: "key" }, swatch("transparent", "crossed"), "unknown"),
          has("saturated") && h("span", { class: "key" }, swatch(saturated()), "saturated"),
          has("unmeasured") && h("span", { class: "key" }, swatch("transparent", "blank"), "not measured"),
        ];
      }
      if (layer.name === "unknown") return [h("span", { class: "key" }, swatch([230, 120, 210]), "no reference explains it")];
      if (layer.kind === "phase") return view.phases.map((phase) => h("span", { class: "key" }, swatch(phase.colour), phase.title));
      return names.flatMap((name, i) => (used.has(i) ? [h("span", { class: "key" }, swatch(wordColour(name, i) ?? "transparent", name === "unmeasured" ? "blank" : ""), words(name))] : []));
    });
  }

  /** The numbers of a pixel, from what was fetched already. @param {Pixel|null} pixel @param {boolean} aloud */
  readout(pixel, aloud) {
    const { view, data } = this;
    if (!view || !pixel) {
      fill(this.reading, h("span", { class: "quiet", text: "Point at the map for its numbers; click to pin a pixel." }));
      return;
    }
    const index = pixel.row * view.shape[1] + pixel.column;
    const phase = view.phases[data.values("phase")?.[index] ?? 255];
    const status = words(view.statuses[data.values("status")?.[index] ?? 0] ?? "");
    const at = (/** @type {0|1} */ axis, /** @type {number} */ i) => (view.origin[axis] + i * view.step[axis]).toFixed(Math.max(0, Math.min(6, Math.ceil(-Math.log10(Math.abs(view.step[axis]) || 1)))));
    const place = `x ${at(1, pixel.column)}, y ${at(0, pixel.row)} ${unitName(view.unit)}`;
    const numbers = [];
    for (const [key, layer] of data.layers) {
      const name = key.split(" ")[0];
      const about = view.layers.find((one) => one.name === name);
      const value = layer.values[index];
      if (!about || name === "phase" || name === "status") continue;
      const text = about.kind === "number" ? `${number(value, 3)}${about.unit ? ` ${unitName(about.unit)}` : ""}` : about.kind === "phase" ? (view.phases[value]?.title ?? "–") : words(wordsOf(view, name)[value] ?? String(value));
      const title = about.per_energy ? `${SHORT[name] ?? about.title} at ${number(view.energies[Number(key.split(" ")[1])]?.energy_ev, 5)} eV` : (SHORT[name] ?? about.title).toLowerCase();
      numbers.push(`${title} ${text}`);
    }
    fill(this.reading, h("span", { class: "value", text: `row ${pixel.row}, column ${pixel.column}` }), phase ? h("span", {}, swatch(phase.colour), h("strong", { text: phase.title }), ` ${status}`) : h("span", { text: status }),
      ...numbers.slice(-4).map((text) => h("span", { class: "value", text })), h("span", { class: "quiet value", text: place }));
    if (aloud) say(`Row ${pixel.row}, column ${pixel.column}: ${phase ? `${phase.title}, ` : ""}${status}${numbers.length > 0 ? `, ${numbers[numbers.length - 1]}` : ""}`);
  }

  get view() {
    return this.data.view;
  }
}
