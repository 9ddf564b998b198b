// @ts-check
// The archive as a gallery: searched, in pages, with pictures that are fetched when they come into sight.

import { Latest, getJson, isWithdrawn, request, why } from "./api.js";
import { fill, h, watchSight } from "./dom.js";
import { bytes, count, moment, number, percent } from "./format.js";
import { archiveTags } from "./scan-head.js";
import { on } from "./store.js";
import { fractionBar } from "./trends.js";

/** @typedef {import("./types.js").Archived} Archived */

const PAGE = 24;
/** Pictures that are fetched at once. */
const MOST_PICTURES = 4;

/** The page's address of an archived scan. @param {string} base */
export const addressOf = (base) => `#${base.replace("/api/v1", "")}`;

/** Fetches pictures a few at a time, the token with them. */
class Pictures {
  /** @type {(() => Promise<void>)[]} */
  #waiting = [];
  #busy = 0;
  /** @type {string[]} */
  #urls = [];
  #abort = new AbortController();

  /** @param {string} path @param {HTMLImageElement} image */
  want(path, image) {
    this.#waiting.push(async () => {
      try {
        const response = await request(path, { signal: this.#abort.signal });
        const url = URL.createObjectURL(await response.blob());
        this.#urls.push(url);
        image.src = url;
      } catch {
        image.classList.add("none");
      }
    });
    this.#next();
  }

  #next() {
    while (this.#busy < MOST_PICTURES) {
      const job = this.#waiting.shift();
      if (!job) return;
      this.#busy += 1;
      void job().finally(() => {
        this.#busy -= 1;
        this.#next();
      });
    }
  }

  /** Lets go of all pictures: others are wanted. */
  clear() {
    this.#waiting = [];
    for (const url of this.#urls.splice(0)) URL.revokeObjectURL(url);
  }

  close() {
    this.clear();
    this.#abort.abort();
  }
}

export class HistoryView {
  /** Where one was last, with what was searched for. */
  static last = "#/history";
  #latest = new Latest();
  #pictures = new Pictures();
  /** @type {(() => void)[]} */
  #ends = [];
  /** @type {Map<string, string>} bases that are chosen for comparing, with their names */
  #chosen = new Map();
  #shown = 0;
  #typing = 0;

  /** @param {URLSearchParams} query */
  constructor(query) {
    this.name = "History";
    const field = (/** @type {string} */ name, /** @type {string} */ label, /** @type {string} */ type) => {
      const input = h("input", { name, type, value: query.get(name) ?? "", autocomplete: "off", test: `history-${name}` });
      return h("label", {}, h("span", { text: label }), input);
    };
    this.form = h("form", { class: "search", role: "search", test: "search" }, field("search", "Search", "search"), field("sample", "Sample", "text"), field("region", "Region", "text"), field("from", "From", "date"), field("to", "To", "date"));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#ask(true), 250);
    });
    this.total = h("p", { class: "quiet", role: "status", test: "history-total" });
    this.list = h("ul", { class: "gallery", test: "gallery" });
    this.more = h("button", { type: "button", hidden: true, text: "More", on: { click: () => this.#ask(false) } });
    this.compare = h("button", { type: "button", class: "primary", disabled: true, text: "Compare two", test: "compare", on: { click: () => {
      const [a, b] = [...this.#chosen.keys()];
      location.hash = `#/compare/${encodeURIComponent(a)}/${encodeURIComponent(b)}`;
    } } });
    this.element = h("div", { class: "view history", test: "history" }, h("div", { class: "view-head" }, h("h1", { text: "History" }), this.total, this.compare), this.form, this.list, h("p", { class: "more" }, this.more));
    this.#ends.push(on("archive", () => { if (this.#shown <= PAGE) this.#ask(true); }));
    this.#ask(true);
  }

  close() {
    for (const end of this.#ends) end();
    clearTimeout(this.#typing);
    this.#latest.stop();
    this.#pictures.close();
  }

  /** @param {boolean} anew */
  #ask(anew) {
    const wanted = new URLSearchParams();
    for (const [name, value] of new FormData(this.form)) if (String(value).trim() !== "") wanted.set(name, String(value).trim());
    const kept = wanted.toString();
    if (anew) {
      HistoryView.last = `#/history${kept ? `?${kept}` : ""}`;
      history.replaceState(null, "", HistoryView.last);
    }
    const offset = anew ? 0 : this.#shown;
    wanted.set("limit", String(PAGE));
    wanted.set("offset", String(offset));
    this.#latest.instead(async (signal) => {
      try {
        /** @type {{ total: number, scans: Archived[] }} */
        const { total, scans } = await getJson(`/api/v1/archive?${wanted}`, { signal });
        const cards = scans.map((scan) => this.#card(scan));
        if (anew) {
          for (const end of this.#ends.splice(1)) end();
          this.#pictures.clear();
          fill(this.list, ...cards.map((card) => card.element));
        } else this.list.append(...cards.map((card) => card.element));
        for (const card of cards) card.watch();
        this.#shown = offset + scans.length;
        this.total.textContent = total === 0 ? (kept ? "No scan is like that." : "The archive is empty.") : count(total, "scan");
        this.more.hidden = this.#shown >= total || scans.length === 0;
        this.more.textContent = `More (${total - this.#shown})`;
      } catch (error) {
        if (!isWithdrawn(signal)) this.total.textContent = `The archive cannot be read: ${why(error)}.`;
      }
    });
  }

  /** @param {Archived} scan */
  #card(scan) {
    const image = h("img", { alt: "", width: 160, height: 160 });
    // Nothing is served out of the quarantine.
    const { base } = scan;
    const tick = h("input", { type: "checkbox", "aria-label": `Compare ${scan.name}`, on: { change: () => base !== null && this.#choose(scan, base, tick) } });
    tick.checked = base !== null && this.#chosen.has(base);
    const tags = [...(scan.simulated ? ["simulated"] : []), ...archiveTags(scan)];
    const element = h("li", { class: "scan-card", data: { test: "scan-card" } },
      base === null ? h("span", { class: "picture" }, image) : h("a", { class: "picture", href: addressOf(base), "aria-label": `Open ${scan.name}` }, image),
      h("div", { class: "scan-about" },
        h("p", { class: "title-row" }, base === null ? h("span", { text: scan.name }) : h("a", { href: addressOf(base), text: scan.name }), base !== null && h("label", { class: "tick" }, tick, "compare")),
        h("p", { class: "quiet", text: [scan.sample, scan.region].filter(Boolean).join(", ") || "no sample named" }),
        fractionBar(scan.fractions),
        h("p", { class: "quiet value", text: `${moment(scan.started)} · ${scan.shape[1]} × ${scan.shape[0]} · ${scan.energies} energies${scan.coverage < 0.999 ? `, ${percent(scan.coverage, 0)}` : ""}` }),
        h("p", { class: "quiet value", text: [scan.dose_mgy === null ? "" : `${number(scan.dose_mgy, 2)} MGy`, bytes(scan.bytes), scan.beamline].filter(Boolean).join(" · ") }),
        tags.length > 0 && h("p", { class: "badges" }, ...tags.map((tag) => h("span", { class: `badge ${tag === "simulated" ? "simulated" : tag === "quarantined" ? "warn" : ""}`, text: tag })))));
    const watch = () => {
      const end = watchSight(image, (seen) => {
        if (!seen) return;
        end();
        if (base === null) image.classList.add("none");
        else this.#pictures.want(`${base}/thumbnail.png`, image);
      });
      this.#ends.push(end);
    };
    return { element, watch };
  }

  /** @param {Archived} scan @param {string} base @param {HTMLInputElement} tick */
  #choose(scan, base, tick) {
    if (!tick.checked) this.#chosen.delete(base);
    else {
      this.#chosen.set(base, scan.name);
      const [first] = this.#chosen.keys();
      if (this.#chosen.size > 2) this.#chosen.delete(first);
      for (const box of this.list.querySelectorAll("input")) box.checked = [...this.#chosen.values()].some((name) => box.getAttribute("aria-label") === `Compare ${name}`);
    }
    this.compare.disabled = this.#chosen.size !== 2;
    this.compare.textContent = this.#chosen.size === 0 ? "Compare two" : this.#chosen.size === 1 ? "Choose another to compare" : `Compare ${[...this.#chosen.values()].join(" and ")}`;
  }
}
