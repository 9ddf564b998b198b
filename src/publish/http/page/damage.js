// @ts-check
// What the sentinels say of damage: readings by dose with their errors, the fit, and what it ends at.

import { getJson, why } from "./api.js";
import { Chart } from "./chart.js";
import { fill, h } from "./dom.js";
import { Follower } from "./follower.js";
import { number, percent, words } from "./format.js";

/** @typedef {import("./types.js").Damage} Damage */
/** @typedef {import("./types.js").Finding} Finding */

const MOST_SHOWN = 6;
/** It is fetched at most this often, ms. */
const PAUSE_MS = 3000;
/** @type {Record<string, string>} */
const SIGNALS = { white_line: "White line", mass: "Pre-edge absorption", reduction: "Not reduced yet", state: "State", residual: "Misfit" };
/** @type {Record<string, string>} */
const VALUES = { white_line: "optical density", mass: "optical density", reduction: "share", state: "state", residual: "χ²" };
/** Share that is left, of what can be lost. @type {Record<string, (x: number) => number>} */
const LAWS = { first_order: (x) => Math.exp(-x), hyperbolic: (x) => 1 / (1 + x) };

/**
 * The curve that goes with the initial rate r (that is at dose 0) and the loss between the first and the last reading: what is lost
 * by the dose D is a (1 - left(b D)) with a b = r. Where the loss is the rate times the dose, that is a line.
 * @param {Finding} finding
 * @returns {(dose: number) => number}
 */
export function fitOf(finding) {
  const { readings } = finding.series;
  const left = LAWS[finding.law[0]] ?? LAWS.first_order;
  const rate = finding.initial_rate.middle;
  const [start, end] = [readings[0].dose, readings[readings.length - 1].dose];
  const loss = finding.lost.middle * Math.abs(finding.scale);
  const lost = (/** @type {number} */ b, /** @type {number} */ dose) => (b * dose < 1e-6 ? rate * dose : (rate / b) * (1 - left(b * dose)));
  const between = (/** @type {number} */ b) => lost(b, end) - lost(b, start);
  let b = 0;
  if (end > start && Math.abs(loss) < Math.abs(between(0)) * 0.999 && rate * loss > 0) {
    let [low, high] = [1e-9 / end, 1e3 / end];
    for (let i = 0; i < 60; i += 1) {
      b = Math.sqrt(low * high);
      if (Math.abs(between(b)) > Math.abs(loss)) low = b;
      else high = b;
    }
  }
  // The level that the readings themselves want.
  let [sum, weights] = [0, 0];
  for (const reading of readings) {
    const weight = 1 / Math.max(reading.sigma, 1e-9) ** 2;
    sum += weight * (reading.value + lost(b, reading.dose));
    weights += weight;
  }
  return (dose) => sum / weights - lost(b, dose);
}

export class DamagePanel {
  /** @type {Map<string, { element: HTMLElement, chart: Chart, text: HTMLElement, title: HTMLElement }>} */
  #cards = new Map();

  /** @param {string} base */
  constructor(base) {
    this.base = base;
    this.note = h("p", { class: "quiet" });
    this.list = h("div", { class: "chart-grid" });
    this.element = h("section", { class: "card damage", "aria-label": "Damage", test: "damage" }, h("header", {}, h("h2", { text: "Dose and damage" })), this.note, this.list);
    this.follower = new Follower(this.element, PAUSE_MS, async (signal) => this.#show(await getJson(`${this.base}/damage.json`, { signal })), (error) => {
      this.note.textContent = `Nothing is known of damage: ${why(error)}.`;
      this.list.hidden = true;
    });
  }

  close() {
    this.follower.close();
  }

  /** @param {string} revision */
  renewed(revision) {
    this.follower.renewed(revision);
  }

  /** @param {Damage} damage */
  #show(damage) {
    const findings = damage.findings
      .filter((finding) => finding.series.readings.length > 1)
      .sort((a, b) => Number(b.is_real) - Number(a.is_real) || Math.abs(b.lost.middle) - Math.abs(a.lost.middle))
      .slice(0, MOST_SHOWN);
    const real = findings.filter((finding) => finding.is_real).length;
    const verdict = findings.length === 0 ? "" : real === 0 ? "No change beyond chance." : "";
    this.note.textContent = [verdict, ...damage.remarks.map((remark) => `${remark}.`)].filter(Boolean).join(" ");
    this.list.hidden = findings.length === 0;
    fill(this.list, ...findings.map((finding) => this.#card(finding, damage).element));
  }

  /** @param {Finding} finding @param {Damage} damage */
  #card(finding, damage) {
    const key = `${finding.signal} ${finding.energy_ev} ${finding.of}`;
    let card = this.#cards.get(key);
    if (!card) {
      const [chart, text, title] = [new Chart(), h("p", { class: "quiet" }), h("h3")];
      card = { chart, text, title, element: h("div", { class: "finding" }, title, chart.element, text) };
      this.#cards.set(key, card);
    }
    const name = SIGNALS[finding.signal] ?? words(finding.signal);
    card.title.textContent = `${name}, ${finding.of}`;
    card.element.classList.toggle("real", finding.is_real);
    const { readings, plateau } = finding.series;
    const verb = finding.lost.middle < 0 ? "gained" : "lost";
    const share = (/** @type {number} */ value) => percent(Math.abs(value));
    const critical = finding.critical_dose ? `; critical dose ${number(finding.critical_dose.middle, 2)} ${damage.unit_text} (${number(finding.critical_dose.low, 2)} to ${number(finding.critical_dose.high, 2)})` : "";
    card.text.textContent = finding.is_real
      ? `${share(finding.lost.middle)} ${verb} (${share(finding.lost.low)} to ${share(finding.lost.high)}), ${words(finding.law[0])} ${percent(finding.law[1], 0)} likely${critical}`
      : "within chance";
    const [first, last] = [readings[0].dose, readings[readings.length - 1].dose];
    const [start, end] = [Math.max(0, first - 0.08 * (last - first)), last + 0.15 * (last - first)];
    const doses = Array.from({ length: 40 }, (_, i) => first + ((end - first) * i) / 39);
    const curve = fitOf(finding);
    card.chart.draw({
      label: `${name} of ${finding.of} by dose: ${card.text.textContent}`,
      x: { label: `dose (${damage.unit_text})`, low: start, high: end },
      y: { label: VALUES[finding.signal] ?? "value" },
      height: 170,
      legend: false,
      series: [
        ...(plateau && finding.is_real ? [
          { kind: /** @type {const} */ ("line"), class: "plateau", x: [start, end], y: [plateau.value, plateau.value], label: "ends at" },
        ] : []),
        { kind: "line", class: finding.is_real ? "fit alarm-line" : "fit quiet-line", x: doses, y: doses.map(curve), label: "fit" },
        { kind: "points", class: "measured", x: readings.map((one) => one.dose), y: readings.map((one) => one.value), error: readings.map((one) => one.sigma), label: "reading" },
      ],
    });
    return card;
  }
}
