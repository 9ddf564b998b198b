// @ts-check
// How it went: fractions by energy, drift, I0, energy offset and dose of this scan; fractions of the scans of the same place.

import { Latest, getJson, isWithdrawn, why } from "./api.js";
import { Chart, stacked } from "./chart.js";
import { fill, h, rgb } from "./dom.js";
import { Follower } from "./follower.js";
import { moment, number, percent } from "./format.js";

/** @typedef {import("./types.js").View} View */
/** @typedef {import("./types.js").TrendPoint} TrendPoint */
/** @typedef {import("./types.js").Archived} Archived */

/** Trends are fetched at most this often, ms. */
const PAUSE_MS = 2000;
const SCANS = 30;

export class TrendsPanel {
  #places = new Latest();
  #place = "";
  /** @type {[string|null, string|null, string]|null} What was asked for last. */
  #last = null;
  #fractions = new Chart("trend-fractions");
  #doubt = new Chart("trend-status");
  #drift = new Chart("trend-drift");
  #i0 = new Chart("trend-i0");
  #offset = new Chart("trend-offset");
  #dose = new Chart("trend-dose");

  /**
   * @param {string} base
   * @param {() => View|null} view
   * @param {(points: TrendPoint[]) => void} tell hands on the course of the scan
   */
  constructor(base, view, tell) {
    this.base = base;
    this.view = view;
    this.tell = tell;
    this.note = h("p", { class: "quiet" });
    this.same = h("div", { class: "same-place", test: "trend-scans" });
    this.sameTitle = h("h3", { text: "Scans of this place" });
    const card = (/** @type {string} */ title, /** @type {Chart} */ chart) => h("div", { class: "trend" }, h("h3", { text: title }), chart.element);
    this.course = [card("Phase fractions by energy", this.#fractions), card("Decided and open", this.#doubt), card("Energy offset", this.#offset), card("Dose", this.#dose)];
    this.drift = card("Drift", this.#drift);
    this.i0 = card("Incident intensity", this.#i0);
    this.grid = h("div", { class: "chart-grid" }, ...this.course, this.drift, this.i0, h("div", { class: "trend" }, this.sameTitle, this.same));
    this.element = h("section", { class: "card trends", "aria-label": "Trends", test: "trends" }, h("header", {}, h("h2", { text: "Trends" })), this.note, this.grid);
    this.follower = new Follower(this.element, PAUSE_MS, (signal) => this.#load(signal), (error) => this.#noCourse(`No trends: ${why(error)}.`));
  }

  /** @param {string} reason */
  #noCourse(reason) {
    for (const one of this.course) one.hidden = true;
    this.note.textContent = reason;
  }

  close() {
    this.follower.close();
    this.#places.stop();
  }

  /** @param {string} revision */
  renewed(revision) {
    this.follower.renewed(revision);
  }

  /** @param {AbortSignal} signal */
  async #load(signal) {
    const view = this.view();
    if (!view) return;
    this.#energies(view);
    if (this.base.startsWith("/api/v1/archive/")) return this.#noCourse("How the fractions came about is kept for scans on the board only.");
    /** @type {{ points: TrendPoint[] }} */
    const { points } = await getJson(`${this.base}/trend.json`, { signal });
    for (const one of this.course) one.hidden = false;
    this.note.textContent = "";
    this.#course(view, points);
    this.tell(points);
  }

  /** @param {View} view @param {TrendPoint[]} points */
  #course(view, points) {
    // The last generation of each energy stands for it.
    const last = new Map(points.map((point) => [point.energies_done, point]));
    const list = [...last.values()].filter((point) => point.energies_done > 0).sort((a, b) => a.energies_done - b.energies_done);
    const x = list.map((point) => point.energies_done);
    const axis = { label: "energies measured", low: 1, high: Math.max(2, view.energies.length) };
    const now = list[list.length - 1];
    const shares = view.phases.map((phase, i) => `${phase.title} ${percent(now?.fractions[i] ?? 0, 0)}`).join(", ");
    this.#fractions.draw({
      label: `Phase fractions by energy, now ${shares}`, x: axis, y: { label: "share", low: 0, high: 1 },
      series: stacked(x, view.phases.map((phase, i) => ({ label: phase.title, colour: rgb(phase.colour), y: list.map((point) => point.fractions[i] ?? 0) }))),
    });
    const sample = (/** @type {TrendPoint} */ point) => Math.max(1, Object.entries(point.status_counts).reduce((sum, [name, many]) => sum + (name === "unmeasured" || name === "background" ? 0 : many), 0));
    const share = (/** @type {string[]} */ names) => list.map((point) => names.reduce((sum, name) => sum + (point.status_counts[name] ?? 0), 0) / sample(point));
    this.#doubt.draw({
      label: `Shares of the sample that are decided, ambiguous and unknown, by energy`, x: axis, y: { label: "share", low: 0, high: 1 },
      series: [
        { kind: "line", class: "one", x, y: share(["classified", "mixture"]), label: "decided" },
        { kind: "line", class: "two", x, y: share(["ambiguous"]), label: "ambiguous" },
        { kind: "line", class: "three", x, y: share(["unknown"]), label: "unknown" },
        { kind: "line", class: "quiet-line", x, y: list.map((point) => point.confidence), label: "confidence" },
      ],
    });
    this.#offset.draw({
      label: `Energy offset by energy, now ${number(now?.offset_ev, 3)} plus or minus ${number(now?.offset_error_ev, 2)} eV`, x: axis, y: { label: "offset (eV)" },
      series: [{ kind: "points", class: "one", x, y: list.map((point) => point.offset_ev), error: list.map((point) => point.offset_error_ev), label: "offset" }],
    });
    this.#dose.draw({
      label: `Mean dose by energy, now ${number(now?.dose_mgy, 3)} MGy`, x: axis, y: { label: "mean dose (MGy)", low: 0 },
      series: [{ kind: "line", class: "one", x, y: list.map((point) => point.dose_mgy), label: "dose" }],
    });
  }

  /** @param {View} view */
  #energies(view) {
    // Drift goes with time, so with the order of the plan; and an energy may be there more than once.
    const list = view.energies.flatMap((energy, i) => (energy.shift === null ? [] : [{ ...energy, number: i + 1 }]));
    this.drift.hidden = list.length === 0;
    this.i0.hidden = view.energies.every((energy) => energy.i0 === null);
    const low = Math.min(...view.energies.map((energy) => energy.energy_ev));
    const axis = { label: "energy (eV)", low, high: Math.max(low + 0.1, ...view.energies.map((energy) => energy.energy_ev)) };
    const way = (/** @type {0|1} */ i, /** @type {string} */ name, /** @type {string} */ label) => ({
      kind: /** @type {const} */ ("points"), class: name, label, x: list.map((energy) => energy.number), y: list.map((energy) => energy.shift?.[i] ?? null), error: list.map((energy) => energy.shift_error?.[i] ?? 0),
    });
    this.#drift.draw({ label: `Drift in pixels, of ${list.length} energies in the order of the plan`, x: { label: "energy of the plan", low: 1, high: Math.max(2, view.energies.length) }, y: { label: "drift (pixels)" }, series: [way(0, "one", "y"), way(1, "two", "x")] });
    const beam = view.energies.filter((energy) => energy.i0 !== null).sort((a, b) => a.energy_ev - b.energy_ev);
    this.#i0.draw({
      label: "Incident intensity by energy", x: axis, y: { label: "I0" },
      series: [{ kind: "points", class: "one", x: beam.map((energy) => energy.energy_ev), y: beam.map((energy) => energy.i0), label: "I0" }],
    });
  }

  /** Scans of the same sample and region. @param {string|null} sample @param {string|null} region @param {string} scanId */
  showPlace(sample, region, scanId) {
    this.#last = [sample, region, scanId];
    const key = `${sample}\n${region}`;
    if (key === this.#place) return;
    this.#place = key;
    if (!sample && !region) {
      fill(this.same, h("p", { class: "quiet", text: "The scan names no sample." }));
      return;
    }
    this.sameTitle.textContent = `Scans of ${[sample, region].filter(Boolean).join(", ")}`;
    this.#places.ask(async (signal) => {
      const query = new URLSearchParams({ limit: String(SCANS), ...(sample ? { sample } : {}), ...(region ? { region } : {}) });
      try {
        /** @type {{ scans: Archived[] }} */
        const { scans } = await getJson(`/api/v1/archive?${query}`, { signal });
        fill(this.same, scans.length === 0 ? h("p", { class: "quiet", text: "None is in the archive yet." }) : h("ol", {}, ...scans.map((scan) => row(scan, scanId))));
      } catch (error) {
        if (isWithdrawn(signal)) return;
        this.#place = "";
        fill(this.same, h("p", { class: "quiet", text: `The archive cannot be read: ${why(error)}.` }));
      }
    });
  }

  /** There is another scan in the archive. */
  archiveGrew() {
    this.#place = "";
    if (this.#last) this.showPlace(...this.#last);
  }
}

/** @param {Archived} scan @param {string} here */
function row(scan, here) {
  // Nothing is served out of the quarantine.
  const link = scan.base === null ? h("span", { text: scan.name }) : h("a", { href: `#${scan.base.replace("/api/v1", "")}`, text: scan.name });
  return h("li", { class: scan.scan_id === here ? "here" : "" }, link, h("span", { class: "quiet", text: moment(scan.started) }), fractionBar(scan.fractions), h("span", { class: "value", text: scan.dose_mgy === null ? "" : `${number(scan.dose_mgy, 2)} MGy` }));
}

/** One bar of the fractions of a scan. @param {import("./types.js").Fraction[]} fractions */
export function fractionBar(fractions) {
  const parts = fractions.filter((one) => one.fraction > 0);
  const bar = h("span", { class: "stack", role: "img", "aria-label": parts.map((one) => `${one.title} ${percent(one.fraction, 0)}`).join(", ") || "nothing classified" });
  for (const one of parts) {
    const part = h("span", { title: `${one.title} ${percent(one.fraction)}` });
    part.style.width = `${100 * one.fraction}%`;
    part.style.backgroundColor = rgb(one.colour);
    bar.append(part);
  }
  return bar;
}
