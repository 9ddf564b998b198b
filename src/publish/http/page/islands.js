// @ts-check
// The islands: where the model puts each pixel. Brushing here lights up pixels on the map; a region there, points here.

import { getJson, why } from "./api.js";
import { fill, h, rgb, say, swatch } from "./dom.js";
import { Follower } from "./follower.js";
import { count, percent } from "./format.js";
import { isInside } from "./map-hand.js";

/** @typedef {import("./types.js").Latent} Latent */
/** @typedef {import("./types.js").View} View */
/** @typedef {[number, number]} Point */

const LIMIT = 4000;
/** They are fetched at most this often, ms. */
const PAUSE_MS = 3000;

export class IslandsPanel {
  /** @type {Latent|null} */
  #latent = null;
  /** @type {Set<number>|null} Pixels that are picked, here or on the map. */
  #picked = null;
  /** @type {Point[]|null} */
  #draft = null;
  #tool = "lasso";
  #frame = 0;
  /** @type {[number, number, number, number]} */
  #range = [-1, 1, -1, 1];

  /**
   * @param {string} base
   * @param {() => View|null} view
   * @param {(pixels: number[]|null) => void} light tells which pixels were picked here
   */
  constructor(base, view, light) {
    this.base = base;
    this.view = view;
    this.light = light;
    this.note = h("p", { class: "quiet" });
    this.canvas = h("canvas", { class: "islands-canvas", role: "img", "aria-label": "Scatter of pixels in the model's latent space", test: "islands-canvas" });
    this.host = h("div", { class: "islands-host" }, this.canvas);
    this.axes = h("p", { class: "quiet axes" });
    this.buttons = h("div", { class: "islands-phases", role: "group", "aria-label": "Light up the pixels of a phase" });
    const tool = h("button", { class: "small", type: "button", text: "Lasso", title: "Draw a lasso or a rectangle", on: { click: () => {
      this.#tool = this.#tool === "lasso" ? "rectangle" : "lasso";
      tool.textContent = this.#tool === "lasso" ? "Lasso" : "Rectangle";
    } } });
    this.clear = h("button", { class: "small", type: "button", text: "Clear", disabled: true, test: "islands-clear", on: { click: () => this.#pick(null) } });
    this.element = h("section", { class: "card islands", "aria-label": "Islands", test: "islands" },
      h("header", {}, h("h2", { text: "Islands" }), tool, this.clear), this.note, this.host, this.axes, this.buttons);
    this.canvas.addEventListener("pointerdown", (event) => this.#down(event));
    this.canvas.addEventListener("pointermove", (event) => this.#moved(event));
    this.canvas.addEventListener("pointerup", () => this.#up());
    this.canvas.addEventListener("pointercancel", () => { this.#draft = null; this.redraw(); });
    new ResizeObserver(() => this.redraw()).observe(this.host);
    this.follower = new Follower(this.element, PAUSE_MS, (signal) => this.#load(signal), (error) => this.#nothing(`No islands: ${why(error)}.`));
  }

  close() {
    this.follower.close();
    cancelAnimationFrame(this.#frame);
  }

  /** @param {string} revision */
  renewed(revision) {
    this.follower.renewed(revision);
  }

  /** @param {AbortSignal} signal */
  async #load(signal) {
    const view = this.view();
    if (view && !view.latent.available) return this.#nothing(view.latent.why_not ?? "There is no model for this scan.");
    this.#latent = await getJson(`${this.base}/latent.json?limit=${LIMIT}`, { signal });
    this.#show();
  }

  /** @param {string} text */
  #nothing(text) {
    this.#latent = null;
    this.note.textContent = text;
    this.host.hidden = this.axes.hidden = this.buttons.hidden = true;
  }

  #show() {
    const latent = this.#latent;
    const view = this.view();
    if (!latent || !view) return;
    this.note.textContent = latent.pixels.length === 0 ? "No pixel has been looked at by the model yet." : "";
    this.host.hidden = this.axes.hidden = this.buttons.hidden = latent.pixels.length === 0;
    const references = latent.references ?? [];
    const all = (/** @type {number[]} */ values, /** @type {number[]} */ more) => [Math.min(...values, ...more), Math.max(...values, ...more)];
    const [u0, u1] = all(latent.u, references.map((one) => one.u));
    const [v0, v1] = all(latent.v, references.map((one) => one.v));
    this.#range = [u0 - 0.06 * (u1 - u0 || 1), u1 + 0.06 * (u1 - u0 || 1), v0 - 0.06 * (v1 - v0 || 1), v1 + 0.06 * (v1 - v0 || 1)];
    this.axes.textContent = `across: ${latent.axes[0] ?? "axis 1"}, up: ${latent.axes[1] ?? "axis 2"} · model ${/^[0-9a-f]{64}$/.test(latent.model) ? latent.model.slice(0, 12) : latent.model}`;
    const here = new Set(latent.phase);
    fill(this.buttons, ...view.phases.flatMap((phase, i) => here.has(i) ? [h("button", { type: "button", class: "chip", on: { click: () => this.#pick(latent.pixels.filter((_, at) => latent.phase[at] === i)) } }, swatch(phase.colour), phase.title)] : []));
    this.redraw();
  }

  /** @param {number[]|null} pixels */
  #pick(pixels) {
    const some = pixels && pixels.length > 0 ? pixels : null;
    this.#picked = some && new Set(some);
    this.clear.disabled = !some;
    this.note.textContent = some ? `${count(some.length, "pixel")} lit up on the map.` : "";
    say(this.note.textContent);
    this.light(some);
    this.redraw();
  }

  /** A region was drawn on the map, or taken away. @param {number[][]|null} polygon */
  regionOnMap(polygon) {
    const view = this.view();
    this.clear.disabled = true;
    if (!polygon || !view || !this.#latent) {
      this.#picked = null;
      if (this.#latent) this.note.textContent = "";
    } else {
      const nx = view.shape[1];
      this.#picked = new Set(this.#latent.pixels.filter((index) => isInside(polygon, (index % nx) + 0.5, Math.floor(index / nx) + 0.5)));
      this.note.textContent = `${count(this.#picked.size, "point")} of the region, ${percent(this.#picked.size / Math.max(1, this.#latent.pixels.length), 0)} of those shown.`;
    }
    this.redraw();
  }

  redraw() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** @param {PointerEvent} event @returns {Point} */
  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#draft = [this.#at(event)];
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    if (!this.#draft) return;
    const at = this.#at(event);
    const [from] = this.#draft;
    this.#draft = this.#tool === "rectangle" ? [from, [at[0], from[1]], at, [from[0], at[1]]] : [...this.#draft, at];
    this.redraw();
  }

  #up() {
    const draft = this.#draft;
    this.#draft = null;
    const latent = this.#latent;
    if (!draft || !latent) return;
    const wide = (/** @type {0|1} */ axis) => Math.max(...draft.map((point) => point[axis])) - Math.min(...draft.map((point) => point[axis]));
    if (draft.length < 3 || Math.max(wide(0), wide(1)) < 5) return this.#pick(null);
    this.#pick(latent.pixels.filter((_, i) => isInside(draft, ...this.#toScreen(latent.u[i], latent.v[i]))));
  }

  /** @param {number} u @param {number} v @returns {Point} */
  #toScreen(u, v) {
    const [u0, u1, v0, v1] = this.#range;
    const { clientWidth: width, clientHeight: height } = this.host;
    return [(width * (u - u0)) / (u1 - u0), height - (height * (v - v0)) / (v1 - v0)];
  }

  #draw() {
    this.#frame = 0;
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.host;
    const latent = this.#latent;
    const view = this.view();
    if (width === 0 || !latent || !view) return;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    const style = getComputedStyle(this.canvas);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const colours = view.phases.map((phase) => rgb(phase.colour));
    const quiet = style.getPropertyValue("--quiet").trim();
    const picked = this.#picked;
    const dots = (/** @type {boolean} */ lit) => {
      for (let i = 0; i < latent.pixels.length; i += 1) {
        if (picked !== null && picked.has(latent.pixels[i]) !== lit) continue;
        const [x, y] = this.#toScreen(latent.u[i], latent.v[i]);
        context.fillStyle = colours[latent.phase[i]] ?? quiet;
        const size = picked && lit ? 3.6 : 2.6;
        context.fillRect(x - size / 2, y - size / 2, size, size);
      }
    };
    context.globalAlpha = picked ? 0.16 : 0.75;
    dots(false);
    if (!picked) {
      context.globalAlpha = 0.75;
    } else {
      context.globalAlpha = 1;
      dots(true);
    }
    context.globalAlpha = 1;
    const [ink, paper] = [style.getPropertyValue("--text").trim(), style.getPropertyValue("--panel").trim()];
    context.font = "600 12px system-ui, sans-serif";
    for (const one of latent.references ?? []) {
      const [x, y] = this.#toScreen(one.u, one.v);
      const phase = view.phases.find((candidate) => candidate.phase === one.phase);
      context.beginPath();
      for (const [i, [dx, dy]] of [[0, -7], [7, 0], [0, 7], [-7, 0]].entries()) context[i === 0 ? "moveTo" : "lineTo"](x + dx, y + dy);
      context.closePath();
      context.fillStyle = phase ? rgb(phase.colour) : quiet;
      context.fill();
      context.strokeStyle = ink;
      context.lineWidth = 1.5;
      context.stroke();
      const text = phase?.title ?? one.phase;
      const left = x + 11 + context.measureText(text).width > width ? x - 11 - context.measureText(text).width : x + 11;
      context.lineWidth = 3;
      context.strokeStyle = paper;
      context.strokeText(text, left, y + 4);
      context.fillStyle = ink;
      context.fillText(text, left, y + 4);
    }
    if (this.#draft && this.#draft.length > 1) {
      context.strokeStyle = ink;
      context.lineWidth = 1.5;
      context.setLineDash([5, 4]);
      context.beginPath();
      for (const [i, point] of this.#draft.entries()) context[i === 0 ? "moveTo" : "lineTo"](...point);
      context.closePath();
      context.stroke();
      context.setLineDash([]);
    }
  }
}
