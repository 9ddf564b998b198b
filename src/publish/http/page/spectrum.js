// @ts-check
// The spectrum of a pixel or of a region: readings with their noise, the fit, the references, and what was made of it.

import { Latest, download, getJson, isWithdrawn, why } from "./api.js";
import { Chart } from "./chart.js";
import { fill, h, rgb, say, swatch } from "./dom.js";
import { count, number, percent, unitName, words } from "./format.js";

/** @typedef {import("./types.js").View} View */
/** @typedef {import("./types.js").Spectrum} Spectrum */
/** @typedef {import("./map-view.js").Pixel} Pixel */
/** @typedef {import("./map-view.js").Corner} Corner */

export class SpectrumPanel {
  #latest = new Latest();
  /** @type {{ kind: "pixel", pixel: Pixel }|{ kind: "region", polygon: Corner[] }|null} */
  #of = null;
  #chart = new Chart("spectrum-chart");
  #shownRevision = "";

  /**
   * @param {string} base
   * @param {() => View|null} view
   */
  constructor(base, view) {
    this.base = base;
    this.view = view;
    this.title = h("h2", { text: "Spectrum" });
    this.facts = h("div", { class: "facts" });
    this.note = h("p", { class: "quiet" });
    this.save = h("button", { class: "small", type: "button", hidden: true, text: "CSV", title: "Download this spectrum as CSV", on: { click: () => this.#download() } });
    this.element = h("section", { class: "card spectrum", "aria-label": "Spectrum", test: "spectrum" }, h("header", {}, this.title, this.save), this.note, this.#chart.element, this.facts);
    this.#say();
  }

  #say() {
    const view = this.view();
    this.#chart.element.hidden = this.#of === null;
    this.save.hidden = this.#of === null;
    if (this.#of !== null) return;
    this.title.textContent = "Spectrum";
    fill(this.facts);
    this.note.textContent = view && !view.spectra.available ? (view.spectra.why_not ?? "There are no spectra of this scan.") : "Click a pixel, or draw a region, to see its spectrum against the references.";
  }

  /** @param {Pixel|null} pixel */
  showPixel(pixel) {
    this.#of = pixel ? { kind: "pixel", pixel } : null;
    this.#load(true);
  }

  /** @param {Corner[]|null} polygon */
  showRegion(polygon) {
    if (polygon) this.#of = { kind: "region", polygon };
    else if (this.#of?.kind === "region") this.#of = null;
    this.#load(true);
  }

  /** A newer generation is there. @param {string} revision */
  renewed(revision) {
    if (this.#of === null) this.#say();
    else if (revision !== this.#shownRevision) this.#load(false);
  }

  /** What was measured is at hand again: asks anew, though the map is the same. */
  again() {
    this.#load(false);
  }

  /** @param {"json"|"csv"} kind */
  #address(kind) {
    if (!this.#of) return "";
    if (this.#of.kind === "pixel") return `${this.base}/pixel.${kind}?row=${this.#of.pixel.row}&column=${this.#of.pixel.column}`;
    return `${this.base}/region.${kind}?polygon=${this.#of.polygon.map((corner) => corner.map((value) => value.toFixed(2)).join(",")).join(";")}`;
  }

  #download() {
    const of = this.#of;
    const name = of?.kind === "pixel" ? `pixel_r${of.pixel.row}_c${of.pixel.column}.csv` : "region.csv";
    download(this.#address("csv"), `${this.view()?.scan_id ?? "scan"}_${name}`).catch((error) => (this.note.textContent = `No CSV: ${why(error)}.`));
  }

  /** @param {boolean} isNew */
  #load(isNew) {
    this.#say();
    const of = this.#of;
    if (!of) return;
    this.element.classList.toggle("busy", isNew);
    if (isNew) this.title.textContent = of.kind === "pixel" ? `Pixel ${of.pixel.row}, ${of.pixel.column}` : "Region";
    this.#latest[isNew ? "instead" : "ask"](async (signal) => {
      try {
        const answer = await getJson(this.#address("json"), { signal });
        if (of !== this.#of) return;
        this.note.textContent = "";
        this.#shownRevision = answer.revision;
        if (of.kind === "pixel") this.#showPixel(answer);
        else this.#showRegion(answer);
        // Once, not with every generation.
        if (isNew) say(`${this.title.textContent}: ${this.facts.firstElementChild?.textContent}`);
      } catch (error) {
        if (isWithdrawn(signal) || of !== this.#of) return;
        this.note.textContent = `No spectrum: ${why(error)}.`;
        fill(this.facts);
        this.#chart.element.hidden = true;
      } finally {
        this.element.classList.remove("busy");
      }
    });
  }

  /** @param {string|number|boolean|null} phase */
  #phase(phase) {
    return this.view()?.phases.find((one) => one.phase === phase);
  }

  /** @param {import("./types.js").PixelAnswer} answer */
  #showPixel(answer) {
    const { values } = answer;
    const phase = this.#phase(values.phase);
    this.title.textContent = `Pixel ${answer.row}, ${answer.column}`;
    const rows = [
      ["confidence", number(/** @type {number} */ (values.confidence), 2)],
      ["margin", number(/** @type {number} */ (values.margin), 2)],
      ["misfit χ²", number(/** @type {number} */ (values.fit_chi2), 3)],
      ["energies", `${values.energies_seen}${values.energies_masked ? `, ${values.energies_masked} masked` : ""}`],
      ["dose", values.dose_mgy !== null ? `${number(/** @type {number} */ (values.dose_mgy), 3)} MGy` : values.dose_relative !== null ? `${number(/** @type {number} */ (values.dose_relative), 3)} (relative)` : "–"],
      ["at", `x ${number(answer.x, 4)}, y ${number(answer.y, 4)} ${unitName(answer.unit)}`],
    ];
    const doubt = values.ambiguity && values.ambiguity !== "none" ? ` (${words(String(values.ambiguity))})` : "";
    const readings = answer.readings.length > 1 ? `could be ${answer.readings.map((one) => one.split("+").map((id) => this.#phase(id)?.title ?? id).join(" with ")).join(", or ")}` : "";
    fill(
      this.facts,
      h("p", { class: "verdict", test: "pixel-verdict" }, phase ? swatch(phase.colour) : null, h("strong", { text: phase?.title ?? "no phase" }), ` ${words(String(values.status))}${doubt}`,
        values.share !== null && values.status === "mixture" ? `, ${percent(/** @type {number} */ (values.share), 0)} with ${this.#phase(values.runner_up)?.title ?? "another"}` : ""),
      readings ? h("p", { class: "quiet", text: readings }) : null,
      h("dl", { class: "pairs" }, ...rows.flatMap(([name, value]) => [h("dt", { text: name }), h("dd", { text: value })])),
      this.#bars(answer.correlations),
    );
    this.#draw(answer.spectrum, answer.why_no_spectrum, `Spectrum of pixel ${answer.row}, ${answer.column}`);
  }

  /** @param {{ phase: string, value: number }[]} correlations */
  #bars(correlations) {
    if (correlations.length === 0) return null;
    const items = correlations.map(({ phase, value }) => {
      const bar = h("span", { class: "bar-fill" });
      bar.style.width = `${Math.max(0, Math.min(100, 100 * value))}%`;
      const colour = this.#phase(phase)?.colour;
      if (colour) bar.style.backgroundColor = rgb(colour);
      return h("li", {}, h("span", { class: "name", text: this.#phase(phase)?.title ?? phase }), h("span", { class: "bar-track" }, bar), h("span", { class: "value", text: number(value, 3) }));
    });
    return h("div", {}, h("h3", { text: "Correlation with the references" }), h("ul", { class: "bars" }, ...items));
  }

  /** @param {import("./types.js").RegionAnswer} answer */
  #showRegion(answer) {
    this.title.textContent = `Region of ${count(answer.pixels, "pixel")}`;
    const counts = Object.entries(answer.status_counts).filter(([, many]) => many > 0).map(([name, many]) => `${words(name)} ${percent(many / answer.pixels, 0)}`);
    const items = answer.fractions.filter((one) => one.fraction > 0).sort((a, b) => b.fraction - a.fraction).map((one) => {
      const bar = h("span", { class: "bar-fill" });
      bar.style.width = `${100 * one.fraction}%`;
      bar.style.backgroundColor = rgb(one.colour);
      return h("li", {}, h("span", { class: "name", text: one.title }), h("span", { class: "bar-track" }, bar), h("span", { class: "value", text: percent(one.fraction) }));
    });
    fill(
      this.facts,
      items.length > 0 ? h("ul", { class: "bars", test: "region-fractions" }, ...items) : h("p", { class: "quiet", text: "Nothing in it is classified." }),
      h("dl", { class: "pairs" }, h("dt", { text: "area" }), h("dd", { text: `${number(answer.area, 3)} ${unitName(answer.area_unit)}` }),
        h("dt", { text: "confidence" }), h("dd", { text: number(answer.confidence, 2) }), h("dt", { text: "dose" }), h("dd", { text: answer.dose_mgy === null ? "–" : `${number(answer.dose_mgy, 3)} MGy` })),
      h("p", { class: "quiet", text: counts.join(", ") }),
    );
    this.#draw(answer.spectrum, answer.why_no_spectrum, `Mean spectrum of ${answer.pixels} pixels`);
  }

  /** @param {Spectrum|null} spectrum @param {string|null} reason @param {string} label */
  #draw(spectrum, reason, label) {
    this.#chart.element.hidden = !spectrum;
    if (!spectrum) {
      this.note.textContent = reason ?? "There is no spectrum.";
      return;
    }
    const x = spectrum.corrected_ev.length > 0 ? spectrum.corrected_ev : spectrum.energy_ev;
    const fit = spectrum.fit;
    const parts = fit?.parts.map((part) => this.#phase(part.phase)?.title ?? part.phase).join(" with ");
    const best = this.#phase(fit?.parts[0]?.phase ?? "");
    const order = x.map((_, i) => i).sort((a, b) => x[a] - x[b]);
    const sorted = (/** @type {(number|null)[]} */ values) => order.map((i) => values[i] ?? null);
    const xs = order.map((i) => x[i]);
    const single = fit?.parts.length === 1 ? fit.parts[0].phase : "";
    this.#chart.draw({
      label: `${label}: optical density by energy${fit ? `, best fit ${parts}, reduced chi squared ${number(fit.chi2, 3)}` : ""}`,
      x: { label: "energy (eV)" },
      y: { label: "optical density" },
      height: 230,
      series: [
        ...spectrum.references.filter((one) => one.phase !== single).map((one) => ({
          kind: /** @type {const} */ ("line"), class: "thin", x: xs, y: sorted(one.od), colour: rgb(this.#phase(one.phase)?.colour ?? [128, 128, 128]), label: this.#phase(one.phase)?.title ?? one.phase,
        })),
        { kind: "points", class: "measured", x: xs, y: sorted(spectrum.od), error: sorted(spectrum.sigma), label: "measured" },
        ...(fit ? [{ kind: /** @type {const} */ ("line"), class: "fit", x: xs, y: sorted(fit.od), colour: best ? rgb(best.colour) : undefined, label: `fit: ${parts}` }] : []),
      ],
    });
  }
}
