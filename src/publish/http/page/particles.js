// @ts-check
// The particles of a map: a list that can be sorted, their outlines on the map, and one of them picked on either side.
//
// They are fetched when the daemon says that there is something new of them, and only while map or list are in sight. A particle keeps
// its row from one generation to the next, by its number; where the settled map numbers them anew, what is picked is found again by its place.

import { getJson, why } from "./api.js";
import { fill, h, keep, kept, renew, say } from "./dom.js";
import { Follower } from "./follower.js";
import { capital, count, number } from "./format.js";
import { MapOutlines } from "./map-outlines.js";
import { areaOf, doubtsOf, factsAloud, factsOf, intervalBar, intervalText, rangeOfState, sharesBar } from "./particle-facts.js";

/** @typedef {import("./types.js").Particle} Particle */
/** @typedef {import("./types.js").Findings} Findings */
/** @typedef {import("./types.js").View} View */
/** @typedef {import("./map-view.js").Pixel} Pixel */
/** @typedef {"id"|"area"|"x"|"phases"|"doubts"} Column */

/** They are fetched at most this often, ms. */
const PAUSE_MS = 2000;

/** What a column is sorted by. @type {Record<Column, (particle: Particle) => number>} */
const SORTED_BY = {
  id: (particle) => particle.id,
  area: (particle) => areaOf(particle).value,
  x: (particle) => particle.x?.middle ?? -Infinity,
  phases: (particle) => particle.entropy_bits ?? -Infinity,
  doubts: (particle) => doubtsOf(particle).length,
};

export class ParticlesPanel {
  /** @type {Findings|null} */
  #findings = null;
  /** @type {Map<number, HTMLTableRowElement>} */
  #rows = new Map();
  /** @type {Column} */
  #by = "id";
  #isDown = false;
  /** @type {number|null} Under the cursor of the map. */
  #under = null;
  /** @type {Follower|null} */
  #follower = null;
  /** @type {{ epoch: number|null, revision: string }} */
  #told = { epoch: null, revision: "" };

  /**
   * @param {string} base
   * @param {() => View|null} view
   * @param {import("./map-view.js").MapView} map
   */
  constructor(base, view, map) {
    this.base = base;
    this.view = view;
    this.map = map;
    this.outlines = new MapOutlines();
    this.outlines.isOn = kept("particles") !== "off";
    map.outlines = this.outlines;
    this.toggle = h("button", { type: "button", hidden: true, title: "Outlines of the particles (p)", "aria-label": "Outlines of the particles", test: "tool-particles", text: "①", on: { click: () => this.switchOutlines() } });
    /** What is pointed at or picked, below the map. */
    this.reading = h("p", { class: "particle-reading", hidden: true, test: "particle-reading" });
    this.text = h("p", { class: "findings-text", test: "findings-text" });
    this.note = h("p", { class: "quiet", test: "particles-note" });
    this.many = h("span", { class: "quiet" });
    this.heads = this.#heads();
    this.body = h("tbody", {});
    this.table = h("div", { class: "particle-list", tabindex: "-1", hidden: true }, h("table", { test: "particles-table" }, h("thead", {}, h("tr", {}, ...Object.values(this.heads))), this.body));
    this.element = h("section", { class: "card particles", "aria-label": "Particles", test: "particles" }, h("header", {}, h("h2", { text: "Particles" }), this.many), this.text, this.table, this.note);
    this.body.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("focusin", (event) => {
      const row = event.target instanceof Element ? event.target.closest("tr") : null;
      if (row) this.point(Number(row.dataset.particle));
    });
    for (const over of ["pointerleave", "focusout"]) this.body.addEventListener(over, () => this.point(null));
    this.#switched();
  }

  /** Begins to fetch, while `element` is in sight. @param {Element} element */
  follow(element) {
    this.#follower = new Follower(element, PAUSE_MS, async (signal) => this.#show(await getJson(`${this.base}/particles`, { signal })), (error) => {
      this.note.textContent = `${this.#findings ? "What is shown may be old" : "No particles"}: ${why(error)}.`;
    });
  }

  close() {
    this.#follower?.close();
    delete document.body.dataset.particles;
    delete document.body.dataset.particle;
  }

  /** There is something new. @param {string|null} revision of what is said of particles; null where nothing is @param {number|null} epoch of the connection, in which revisions count; null in the archive, where they do not */
  renewed(revision, epoch) {
    if (revision === null) {
      if (!this.#findings) this.note.textContent = this.base.startsWith("/api/v1/archive/") ? "This scan was archived without a description of its particles." : "Nothing is known of particles yet.";
      return;
    }
    // The map may tell of an earlier one than an event did.
    if (epoch !== null && epoch === this.#told.epoch && Number(revision) < Number(this.#told.revision)) return;
    this.#told = { epoch, revision };
    this.#follower?.renewed(`${epoch} ${revision}`);
  }

  switchOutlines() {
    this.outlines.isOn = !this.outlines.isOn;
    keep("particles", this.outlines.isOn ? "on" : "off");
    this.#switched();
    say(`Outlines of particles ${this.outlines.isOn ? "on" : "off"}`);
  }

  #switched() {
    this.toggle.setAttribute("aria-pressed", String(this.outlines.isOn));
    this.map.redraw();
  }

  /** The cursor is somewhere else on the map. @param {Pixel|null} pixel @param {boolean} aloud */
  hover(pixel, aloud) {
    const before = this.#under;
    const id = pixel ? this.outlines.at(pixel.column + 0.5, pixel.row + 0.5) : null;
    this.#under = id;
    this.point(id);
    const [particle, view] = [this.#of(id), this.view()];
    if (aloud && particle && view && this.#findings && id !== before) say(factsAloud(particle, this.#findings, view));
  }

  /** A pixel was picked on the map, or let go of. @param {Pixel|null} pixel */
  pickAt(pixel) {
    this.pick(pixel ? this.outlines.at(pixel.column + 0.5, pixel.row + 0.5) : null);
    const row = this.#rows.get(this.outlines.picked ?? -1);
    // Only the list is moved, not the page.
    if (row && (row.offsetTop < this.table.scrollTop + row.offsetHeight || row.offsetTop + row.offsetHeight > this.table.scrollTop + this.table.clientHeight)) this.table.scrollTop = row.offsetTop - this.table.clientHeight / 2;
  }

  /** @param {number|null} id */
  point(id) {
    if (id === this.outlines.pointed) return;
    this.#rows.get(this.outlines.pointed ?? -1)?.classList.remove("pointed");
    this.outlines.pointed = id;
    this.#rows.get(id ?? -1)?.classList.add("pointed");
    this.#read();
    this.map.redraw();
  }

  /** @param {number|null} id */
  pick(id) {
    this.outlines.picked = this.#of(id) ? id : null;
    this.#mark();
    this.#read();
    this.map.redraw();
  }

  /** @param {number|null} id */
  #of(id) {
    return this.#findings?.particles.find((particle) => particle.id === id) ?? null;
  }

  #mark() {
    const { picked, pointed } = this.outlines;
    for (const [id, row] of this.#rows) {
      row.classList.toggle("picked", id === picked);
      row.classList.toggle("pointed", id === pointed);
      row.querySelector("button")?.setAttribute("aria-pressed", String(id === picked));
    }
    if (picked === null) delete document.body.dataset.particle;
    else document.body.dataset.particle = String(picked);
  }

  /** Says below the map what is pointed at, else what is picked. */
  #read() {
    const [findings, view] = [this.#findings, this.view()];
    const particle = this.#of(this.outlines.pointed) ?? this.#of(this.outlines.picked);
    if (findings && view && particle) fill(this.reading, ...factsOf(particle, findings, view));
    else fill(this.reading, h("span", { class: "quiet", text: "Point at a particle for its numbers; click to pick it." }));
  }

  /** @param {Findings} findings */
  #show(findings) {
    const view = this.view();
    if (!view) return;
    const [before, picked] = [this.#findings, this.#of(this.outlines.picked)];
    const place = picked && this.outlines.middleOf(picked.id);
    this.#findings = findings;
    this.outlines.set(findings.particles);
    // The settled map, which has generation 0, numbers them by their size.
    const isAnew = before !== null && before.generation !== findings.generation && findings.generation === 0;
    if (isAnew && place) this.outlines.picked = this.outlines.at(...place);
    if (!this.#of(this.outlines.picked)) this.outlines.picked = null;
    if (isAnew || !this.#of(this.outlines.pointed)) this.outlines.pointed = this.#under = null;
    const some = findings.particles.length > 0;
    this.table.hidden = this.toggle.hidden = this.reading.hidden = !some;
    const text = findings.text ?? count(findings.particles.length, "particle");
    renew(this.text, text, () => [`${capital(text)}.`]);
    this.many.textContent = findings.generation > 0 ? `of map ${findings.generation}` : "";
    const { pieces, pixels } = findings.left_out;
    this.note.textContent = pieces > 0 ? `${count(pieces, "piece")} of ${count(pixels, "pixel")} in all ${pieces === 1 ? "is" : "are"} too small to be described.` : "";
    this.heads.x.hidden = findings.variable === null;
    this.#name("x", `${findings.variable ?? "state"}, 90 %`);
    this.#name("area", `Area, ${areaOf(findings.particles[0] ?? { area_um2: null, area_px: { value: 0, sigma: 0 } }).unit}`);
    const range = rangeOfState(findings, view);
    const there = new Set(findings.particles.map((particle) => particle.id));
    for (const [id, row] of this.#rows) {
      if (there.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    for (const particle of findings.particles) this.#fillRow(particle, findings, view, range);
    this.#sort(false);
    this.#mark();
    this.#read();
    this.map.redraw();
    document.body.dataset.particles = String(findings.particles.length);
  }

  /** @param {Particle} particle @param {Findings} findings @param {View} view @param {[number, number]} range */
  #fillRow(particle, findings, view, range) {
    const { id, x } = particle;
    let row = this.#rows.get(id);
    if (!row) {
      row = h("tr", { data: { particle: id }, on: { click: () => this.#choose(id), pointerenter: () => this.point(id) } });
      this.#rows.set(id, row);
    }
    renew(row, JSON.stringify([{ ...particle, outline: undefined }, range]), () => [
      h("th", { scope: "row" }, h("button", { type: "button", class: "small", "aria-label": `Particle ${id}`, "aria-pressed": "false", text: String(id) })),
      h("td", { text: number(areaOf(particle).value, 3) }),
      findings.variable !== null && h("td", { class: "state" }, x ? h("span", { text: intervalText(x) }) : h("span", { class: "quiet", text: "–" }), x && intervalBar(x, range, view)),
      h("td", { class: "shares" }, sharesBar(particle, findings, view)),
      h("td", { class: "doubts" }, ...doubtsOf(particle).map(({ word, why }) => h("span", { title: why, text: word }))),
    ]);
  }

  /** @param {number} id */
  #choose(id) {
    this.pick(this.outlines.picked === id ? null : id);
    const middle = this.outlines.picked === null ? null : this.outlines.middleOf(id);
    if (!middle) return;
    // What is picked is seen, also where the map is zoomed.
    const [x, y] = this.map.toScreen(...middle);
    const { clientWidth: width, clientHeight: height } = this.map.host;
    if (x < 0 || y < 0 || x > width || y > height) this.map.setCamera({ ...this.map.camera, x: middle[0], y: middle[1] });
  }

  #heads() {
    const head = (/** @type {Column} */ column, /** @type {string} */ text, /** @type {string} */ title) =>
      h("th", { scope: "col", "aria-sort": column === this.#by ? "ascending" : "none", data: { column } }, h("button", { type: "button", class: "sort", title, text, on: { click: () => {
        this.#isDown = this.#by === column ? !this.#isDown : column !== "id";
        this.#by = column;
        this.#sort(true);
      } } }));
    return {
      id: head("id", "No.", "Sort by number"),
      area: head("area", "Area", "Sort by area"),
      x: head("x", "State", "Sort by the mean of the state variable"),
      phases: head("phases", "Phases", "Sort by how mixed they are"),
      doubts: head("doubts", "Doubts", "Sort by what makes them doubtful"),
    };
  }

  /** @param {Column} column @param {string} text */
  #name(column, text) {
    const button = this.heads[column].querySelector("button");
    if (button && button.textContent !== text) button.textContent = text;
  }

  /** @param {boolean} wanted whether somebody asked for it: else nothing goes from under the pointer */
  #sort(wanted) {
    for (const [column, head] of Object.entries(this.heads)) head.setAttribute("aria-sort", column !== this.#by ? "none" : this.#isDown ? "descending" : "ascending");
    const of = SORTED_BY[this.#by];
    const sign = this.#isDown ? -1 : 1;
    const sorted = [...(this.#findings?.particles ?? [])].sort((a, b) => (of(a) === of(b) ? a.id - b.id : sign * (of(a) - of(b))));
    const held = !wanted && this.body.matches(":hover");
    const rows = sorted.flatMap(({ id }) => this.#rows.get(id) ?? []);
    const wantedRows = held ? [...[...this.body.rows].filter((row) => rows.includes(row)), ...rows.filter((row) => !row.isConnected)] : rows;
    if (wantedRows.length === this.body.rows.length && wantedRows.every((row, i) => row === this.body.rows[i])) return;
    const focused = document.activeElement;
    this.body.append(...wantedRows);
    if (focused instanceof HTMLElement && this.body.contains(focused)) focused.focus({ preventScroll: true });
  }

  /** Up and down go from row to row. @param {KeyboardEvent} event */
  #key(event) {
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target instanceof Element ? event.target.closest("tr") : null;
    if (!way || !row) return;
    event.preventDefault();
    const next = this.body.rows[Array.prototype.indexOf.call(this.body.rows, row) + way];
    next?.querySelector("button")?.focus();
  }
}
