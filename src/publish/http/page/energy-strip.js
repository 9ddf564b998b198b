// @ts-check
// The energies of the plan in a row: what of each is measured, and which one is shown.

import { h, renew, svg } from "./dom.js";
import { number, percent } from "./format.js";

/** @typedef {import("./types.js").View} View */

export class EnergyStrip {
  /** @type {View|null} */
  #view = null;

  /** @param {(index: number) => void} pick */
  constructor(pick) {
    this.pick = pick;
    this.cells = h("div", { class: "strip-cells", "aria-hidden": "true" });
    this.slider = h("input", { type: "range", min: "0", max: "0", step: "1", "aria-label": "Energy of the optical density", test: "energy-slider", on: { input: () => this.pick(Number(this.slider.value)) } });
    this.text = h("output", { class: "value" });
    this.element = h("div", { class: "strip", test: "energy-strip", hidden: true }, h("p", { class: "strip-row" }, h("span", { class: "quiet", text: "Energies: measured so far; pick one for its optical density" }), this.text), this.cells, this.slider);
    this.cells.addEventListener("click", (event) => {
      const box = this.cells.getBoundingClientRect();
      const many = this.#view?.energies.length ?? 0;
      if (many > 0) this.pick(Math.min(many - 1, Math.floor(((event.clientX - box.left) / box.width) * many)));
    });
  }

  /** @param {number} index */
  select(index) {
    this.slider.value = String(index);
    this.#say();
  }

  /** @param {View} view @param {number|null} shown index of the energy whose OD is shown */
  show(view, shown) {
    this.#view = view;
    const many = view.energies.length;
    this.element.hidden = many === 0;
    this.slider.max = String(many - 1);
    this.slider.disabled = !view.layers.some((layer) => layer.name === "od");
    this.slider.title = this.slider.disabled ? (view.spectra.why_not ?? "There are no images of single energies.") : "Show the optical density of one energy";
    if (shown !== null) this.slider.value = String(shown);
    const key = view.energies.map((energy) => energy.coverage.toFixed(3)).join() + shown;
    renew(this.cells, key, () => {
      const picture = svg("svg", { viewBox: `0 0 ${many} 10`, preserveAspectRatio: "none" });
      for (const [i, energy] of view.energies.entries()) {
        const full = Math.max(0, Math.min(1, energy.coverage));
        const kind = full >= 0.999 ? "whole" : "part";
        picture.append(svg("rect", { x: i + 0.06, y: 0, width: 0.88, height: 10, class: "cell" }));
        if (full > 0) picture.append(svg("rect", { x: i + 0.06, y: 10 * (1 - full), width: 0.88, height: 10 * full, class: `cell ${kind}` }));
        if (i === shown) picture.append(svg("rect", { x: i, y: 0, width: 1, height: 10, class: "cell shown" }));
      }
      return [picture];
    });
    this.#say();
  }

  #say() {
    const energy = this.#view?.energies[Number(this.slider.value)];
    if (!energy) return;
    const done = energy.coverage >= 0.999 ? "" : energy.coverage > 0 ? `, ${percent(energy.coverage, 0)} measured` : ", not measured";
    const text = `${energy.energy_ev.toFixed(2)} eV${done}`;
    if (this.text.textContent !== text) this.text.textContent = text;
    this.slider.setAttribute("aria-valuetext", `${number(energy.energy_ev, 5)} electronvolt${done}`);
  }
}
