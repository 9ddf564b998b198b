// @ts-check
// One scan, live or from the archive: the map, what it is made of, and how it went. Puts the panels together; shows nothing itself.

import { Latest, download, getJson, post, why } from "./api.js";
import { AlertsPanel } from "./alerts.js";
import { DamagePanel } from "./damage.js";
import { confirmed } from "./dialogs.js";
import { h } from "./dom.js";
import { number } from "./format.js";
import { IslandsPanel } from "./islands.js";
import { MapCard } from "./map-card.js";
import { isInside } from "./map-hand.js";
import { Pace } from "./pace.js";
import { ParticlesPanel } from "./particles.js";
import { ScanData } from "./scan-data.js";
import { AdvicePanel, FractionsPanel, ScanHead, isLive } from "./scan-head.js";
import { SpectrumPanel } from "./spectrum.js";
import { on, state } from "./store.js";
import { TrendsPanel } from "./trends.js";

/** @typedef {import("./types.js").Scan} Scan */
/** @typedef {import("./types.js").Archived} Archived */

export class ScanView {
  /** @type {(() => void)[]} */
  #ends = [];
  #pace = new Pace();
  #summary = new Latest();
  /** @type {Scan|null} Of a scan that left the board. */
  #left = null;
  /** @type {Archived|null} What the archive says. */
  #archived = null;
  #wanted = 0;
  /** The last news of findings. @type {{ scan_id: string, revision: number }|null} */
  #said = null;
  /** @type {string|undefined} Of the board, when it was looked at last. */
  #state = undefined;
  /** Whether what was measured was at hand with the last view. */
  #isAtHand = false;

  /**
   * @param {string} base `/api/v1/scans/...` or `/api/v1/archive/...`
   * @param {string} scanId empty where it is known only from the archive
   * @param {Node[]} chooser what goes before the actions of the head
   */
  constructor(base, scanId, chooser) {
    this.base = base;
    this.scanId = scanId;
    this.data = new ScanData(base, (change) => this.#changed(change));
    this.card = new MapCard(this.data, {
      hover: (pixel, byKeyboard) => this.particles?.hover(pixel, byKeyboard),
      pick: (pixel) => {
        this.spectrum.showPixel(pixel);
        this.particles.pickAt(pixel);
      },
      region: (polygon) => this.#region(polygon),
    }, `Map of ${scanId || base.split("/").pop()}. Arrows move the cursor, Enter pins a pixel, r draws a region.`);
    const view = () => this.data.view;
    this.spectrum = new SpectrumPanel(base, view);
    this.islands = new IslandsPanel(base, view, (pixels) => this.#light(pixels));
    this.trends = new TrendsPanel(base, view, (points) => this.#pace.take(points.map((point) => ({ time: Date.parse(point.time), values: point.measured_values }))));
    this.damage = new DamagePanel(base);
    this.particles = new ParticlesPanel(base, view, this.card.map);
    this.card.add(this.particles.toggle, this.particles.reading);
    this.alerts = new AlertsPanel();
    this.advice = new AdvicePanel();
    this.fractions = new FractionsPanel();
    this.said = h("span", { class: "quiet", role: "status" });
    this.archiveNow = h("button", { type: "button", class: "small", hidden: true, text: "Archive now", title: "Write what there is now into the archive", on: { click: () => this.#archiveNow() } });
    this.head = new ScanHead([...chooser, this.#downloads(), this.archiveNow, this.said]);
    const grid = h("div", { class: "scan-grid" },
      h("div", { class: "col-map" }, this.card.element), this.particles.element,
      h("div", { class: "col-what" }, this.alerts.element, this.fractions.element, this.advice.element),
      h("div", { class: "col-why" }, this.spectrum.element, this.islands.element));
    // The map has their outlines: they are wanted where either is in sight.
    this.particles.follow(grid);
    this.element = h("div", { class: "scan-view", test: "scan-view" }, this.head.element, grid, this.trends.element, this.damage.element);
    this.alerts.setScan(scanId);
    this.#listen();
    this.#showScan();
    this.data.refresh(null, state.epoch);
  }

  #listen() {
    this.#ends.push(
      on("map", (event) => {
        if (event.scan_id !== this.scanId || !this.#isOnBoard) return;
        this.#wanted = event.generation;
        // A page that nobody looks at asks for nothing; what it missed comes when it is looked at.
        if (!document.hidden) this.data.refresh(event.at, state.epoch);
      }),
      on("findings", (event) => {
        // Which scan is the newest may not be known yet: it is looked at again when it is.
        this.#said = event;
        // Without a view there is nothing to show them on: the first map takes up what was said.
        if (event.scan_id === this.scanId && this.#isOnBoard && this.data.view) this.particles.renewed(String(event.revision), state.epoch);
      }),
      on("scans", () => {
        this.#showScan();
        this.#lookAgain();
      }),
      on("connection", () => {
        if (state.connection.state === "lost") this.#said = null;
        this.element.classList.toggle("old", state.connection.state === "lost");
        this.#showScan();
        if (state.connection.state === "open" && !document.hidden) this.data.refresh(null, state.epoch);
      }),
      on("archive", () => this.trends.archiveGrew()),
      on("theme", () => {
        this.card.paint(null);
        this.islands.redraw();
      }),
    );
    const woken = () => {
      if (!document.hidden) this.data.refresh(null, state.epoch);
    };
    document.addEventListener("visibilitychange", woken);
    const timer = setInterval(() => {
      this.#showScan();
      // Where an answer failed, or was overtaken, and no event comes any more.
      const behind = this.data.problem !== "" || this.data.waiting || (this.#wanted > this.data.generation && this.data.view !== null);
      if (behind && !document.hidden && state.connection.state === "open") this.data.refresh(null, state.epoch);
    }, 2000);
    this.#ends.push(() => document.removeEventListener("visibilitychange", woken), () => clearInterval(timer));
  }

  /** Whether it is on the board; else it is in the archive. */
  get #isOnBoard() {
    return this.base.startsWith("/api/v1/scans/");
  }

  close() {
    delete document.body.dataset.lit;
    for (const end of this.#ends) end();
    for (const part of [this.data, this.card, this.particles, this.islands, this.trends, this.damage, this.alerts]) part.close();
  }

  /** Shows a layer by its place among the buttons. @param {number} index */
  chooseLayer(index) {
    const layer = this.card.choices()[index];
    if (layer) this.card.setLayer(layer.name);
  }

  /** @param {number} by */
  stepEnergy(by) {
    this.card.setEnergy(this.card.energy + by);
  }

  /** Takes back pin, region and brush. */
  clear() {
    this.card.map.pin(null);
    this.card.map.setRegion(null);
    this.#light(null);
  }

  /** @param {{ at: number|null, generation: boolean }} change */
  #changed({ at, generation }) {
    this.card.paint(at);
    const { view, revision } = this.data;
    if (!view) return;
    document.body.dataset.scan = view.scan_id;
    if (this.scanId === "") {
      this.scanId = view.scan_id;
      this.alerts.setScan(view.scan_id);
    }
    if (generation) {
      for (const part of [this.spectrum, this.islands, this.trends, this.damage]) part.renewed(revision);
      this.particles.renewed(view.findings.revision, this.#isOnBoard ? state.epoch : null);
      if (this.#isOnBoard && this.#said?.scan_id === this.scanId) this.particles.renewed(String(this.#said.revision), state.epoch);
      if (!state.scans.has(this.scanId) || this.base.startsWith("/api/v1/archive/")) this.#askSummary();
    } else if (view.spectra.available && !this.#isAtHand) this.spectrum.again();
    this.#isAtHand = view.spectra.available;
    this.#showScan();
  }

  /** What was measured is not at hand while a scan is being archived, and comes back without another map. */
  #lookAgain() {
    const now = state.scans.get(this.scanId)?.state;
    if (now === this.#state) return;
    this.#state = now;
    if (this.#isOnBoard && this.data.view && !document.hidden) this.data.refresh(null, state.epoch);
  }

  /** What is known of a scan that is not on the board. */
  #askSummary() {
    this.#summary.ask(async () => {
      try {
        /** @type {Scan|Archived} */
        const scan = await getJson(this.base);
        if ("state" in scan) this.#left = scan;
        else this.#archived = scan;
      } catch (error) {
        console.warn("summary:", why(error));
      }
      this.#showScan();
    });
  }

  #showScan() {
    const scan = this.base.startsWith("/api/v1/archive/") ? this.#left : (state.scans.get(this.scanId) ?? this.#left);
    if (!scan) {
      const { view } = this.data;
      const archived = this.#archived;
      if (view) this.head.showView(view, archived);
      if (view && archived) {
        const rank = (/** @type {{ phase: string }} */ one) => view.phases.findIndex((phase) => phase.phase === one.phase);
        this.fractions.show([...archived.fractions].sort((a, b) => rank(a) - rank(b)), counted(view.statuses, this.data.values("status")), archived.dose_mgy === null ? [] : [["dose, mean", `${number(archived.dose_mgy, 3)} MGy`]]);
        this.trends.showPlace(archived.sample, archived.region, archived.scan_id);
        document.body.dataset.state = "archived";
      }
      if (!view) this.head.title.textContent = this.scanId || decodeURIComponent(this.base.split("/").pop() ?? "");
      return;
    }
    this.#pace.push(Date.parse(scan.last_update), scan.measured_values);
    this.head.show(scan, this.#pace, state.connection.state === "lost", this.data.generation);
    this.card.setReason(isLive(scan) ? "" : scan.archive_path ? "Its map is not on the board any more; it is in the archive." : "There is no map of it.");
    this.advice.show(scan);
    this.fractions.showScan(scan);
    this.trends.showPlace(scan.sample, scan.region, scan.scan_id);
    this.archiveNow.hidden = !isLive(scan) || scan.generation === 0;
    document.body.dataset.state = scan.state;
  }

  /** @param {import("./map-view.js").Corner[]|null} polygon */
  #region(polygon) {
    this.spectrum.showRegion(polygon);
    this.islands.regionOnMap(polygon);
    const view = this.data.view;
    if (!polygon || !view) return this.card.light(null);
    const [ny, nx] = view.shape;
    const lit = new Uint8Array(ny * nx);
    for (let i = 0; i < lit.length; i += 1) if (isInside(polygon, (i % nx) + 0.5, Math.floor(i / nx) + 0.5)) lit[i] = 1;
    this.card.light(lit);
  }

  /** @param {number[]|null} pixels picked among the islands */
  #light(pixels) {
    const view = this.data.view;
    if (!pixels || !view) return this.card.light(null);
    const lit = new Uint8Array(view.shape[0] * view.shape[1]);
    for (const index of pixels) lit[index] = 1;
    this.card.light(lit);
  }

  #downloads() {
    const list = h("ul", { class: "menu-list" });
    const item = (/** @type {string} */ text, /** @type {string} */ path, /** @type {string} */ name) => h("li", {}, h("button", { type: "button", text, on: { click: async () => {
      this.said.textContent = `Asking for ${name} …`;
      try {
        await download(path, `${this.scanId}_${name}`);
        this.said.textContent = "";
      } catch (error) {
        this.said.textContent = `No ${name}: ${why(error)}.`;
      }
    } } }));
    list.append(item("Parquet: the map", `${this.base}/phase_map.parquet`, "phase_map.parquet"), item("Arrow: the map", `${this.base}/phase_map.arrow`, "phase_map.arrow"),
      item("PNG: the picture", `${this.base}/phase_map.png`, "phase_map.png"), item("CSV: spectra of the phases", `${this.base}/spectra.csv`, "spectra.csv"), item("Arrow: spectra", `${this.base}/spectra.arrow`, "spectra.arrow"));
    let whole = false;
    const menu = h("details", { class: "menu", test: "downloads" }, h("summary", { class: "small", text: "Download" }), list);
    menu.addEventListener("toggle", async () => {
      if (!menu.open || whole) return;
      const base = this.base.startsWith("/api/v1/archive/") ? this.base : await archiveOf(this.scanId);
      whole = base !== null;
      if (base) list.append(item("NXstxm: the whole scan", `${base}/files/scan.nxs`, "scan.nxs"));
    });
    const away = (/** @type {Event} */ event) => {
      if (menu.open && !menu.contains(/** @type {Node} */ (event.target))) menu.open = false;
    };
    document.addEventListener("pointerdown", away);
    this.#ends.push(() => document.removeEventListener("pointerdown", away));
    return menu;
  }

  async #archiveNow() {
    if (!(await confirmed("Archive now", `What there is of ${this.scanId} now is written to the archive, as provisional. The scan goes on.`, "Archive now"))) return;
    this.said.textContent = "Archiving …";
    try {
      await post(`/api/v1/scans/${encodeURIComponent(this.scanId)}/archive`, {});
      this.said.textContent = "Ordered.";
    } catch (error) {
      this.said.textContent = `Not done: ${why(error)}.`;
    }
  }
}

/** How many pixels have which status. @param {string[]} names @param {ArrayLike<number>|null} status */
function counted(names, status) {
  const counts = new Array(names.length).fill(0);
  for (let i = 0; i < (status?.length ?? 0); i += 1) counts[status?.[i] ?? 0] += 1;
  return Object.fromEntries(names.map((name, i) => [name, counts[i]]));
}

/** Where a scan lies in the archive; null where it does not. @param {string} scanId @returns {Promise<string|null>} */
async function archiveOf(scanId) {
  try {
    /** @type {{ scans: import("./types.js").Archived[] }} */
    const { scans } = await getJson(`/api/v1/archive?${new URLSearchParams({ search: scanId, limit: "10" })}`);
    return scans.find((scan) => scan.scan_id === scanId)?.base ?? null;
  } catch {
    return null;
  }
}
