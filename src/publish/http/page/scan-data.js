// @ts-check
// The numbers of one scan: its view and the layers that are shown, all of one generation.
//
// After a `map` event, view, phase, status and the layer that is shown are fetched in parallel. Where the answers say which
// generation they are of, only answers of one and the same are taken, and never an older one than is held; an answer that was
// overtaken is asked for again.

import { HttpError, Latest, isOf, isWithdrawn, origin, request, why } from "./api.js";

/** @typedef {import("./types.js").View} View */
/** @typedef {Uint8Array|Uint16Array|Float32Array} Values */
/** @typedef {{ values: Values, generation: number|null, revision: string|null }} Layer */

const BASIS = ["phase", "status"];
/** How often answers of different generations are asked for again at once, before what there is waits for the next event. */
const TRIES = 4;

/** @param {ArrayBuffer} buffer @param {string} dtype @param {number} length @returns {Values} */
function valuesOf(buffer, dtype, length) {
  const values = dtype === "f32" ? new Float32Array(buffer) : dtype === "u16" ? new Uint16Array(buffer) : new Uint8Array(buffer);
  if (values.length !== length) throw new Error(`a layer has ${values.length} values, the map ${length} pixels`);
  return values;
}

/** Where it is not known any more how much of an energy was measured, its I0 tells whether anything was. @param {View} view */
function whole(view) {
  for (const energy of view.energies) energy.coverage ??= energy.i0 === null ? 0 : 1;
  return view;
}

export class ScanData {
  /** @type {View|null} */
  view = null;
  /** @type {Map<string, Layer>} */
  layers = new Map();
  generation = 0;
  revision = "";
  /** What could not be had, in words; empty where all is well. */
  problem = "";
  /** Whether the daemon has no map of it yet. */
  waiting = false;
  #latest = new Latest();
  #shown = "phase";
  #energy = 0;
  #epoch = 0;
  #closed = false;

  /**
   * @param {string} base
   * @param {(change: { at: number|null, generation: boolean }) => void} tell called when there is something new to paint; `at`
   *   is when the event came that led to it, `performance.now()`
   */
  constructor(base, tell) {
    this.base = base;
    this.tell = tell;
  }

  close() {
    this.#closed = true;
    this.#latest.stop();
  }

  /** Key of the layer that is shown. */
  get shown() {
    return this.isPerEnergy(this.#shown) ? `${this.#shown} ${this.#energy}` : this.#shown;
  }

  /** Whether a layer is one image per energy. @param {string} name */
  isPerEnergy(name) {
    return this.view?.layers.find((layer) => layer.name === name)?.per_energy ?? name === "od";
  }

  /** @param {string} name @returns {Values|null} */
  values(name) {
    return this.layers.get(name)?.values ?? null;
  }

  /** @param {string} name @param {number} energy index, for layers that have one image per energy */
  show(name, energy) {
    this.#shown = name;
    this.#energy = energy;
    const layer = this.layers.get(this.shown);
    if (name === "unknown" || (layer && layer.revision === this.revision)) this.tell({ at: null, generation: false });
    else this.refresh(null);
  }

  /**
   * Fetches what is newer. `epoch` counts connections to the daemon: after a new one, its generations may begin anew.
   * @param {number|null} at
   * @param {number} [epoch]
   */
  refresh(at, epoch = this.#epoch) {
    this.#latest.ask(async (signal) => {
      if (this.#closed) return;
      try {
        for (let left = TRIES; left > 0; left -= 1) if (await this.#fetch(at, epoch, left === 1, signal)) break;
        this.problem = "";
        this.waiting = false;
      } catch (error) {
        if (isWithdrawn(signal)) return;
        this.waiting = error instanceof HttpError && error.status === 404 && !this.view;
        this.problem = why(error);
      }
      if (!this.#closed) this.tell({ at: null, generation: false });
    });
  }

  /**
   * @param {number|null} at
   * @param {number} epoch
   * @param {boolean} last whether answers of one generation have to do, though their revisions differ
   * @param {AbortSignal} signal
   * @returns {Promise<boolean>} whether they went together
   */
  async #fetch(at, epoch, last, signal) {
    const wanted = [...new Set([...BASIS, this.shown])].filter((key) => key !== "unknown");
    const view = request(`${this.base}/view.json`, { signal }).then(async (response) => ({ from: origin(response), view: whole(/** @type {View} */ (await response.json())) }));
    const layers = wanted.map((key) => this.#layer(key, signal));
    // A layer that is not there is told by the view; it does not take the map with it.
    const [answer, ...parts] = await Promise.all([view, ...layers.map((layer) => layer.catch((error) => /** @type {Error} */ (error)))]);
    const generation = answer.from.generation ?? answer.view.generation;
    const revision = answer.from.revision ?? answer.view.revision;
    if (epoch === this.#epoch && generation < this.generation) return true;
    /** @type {Map<string, Layer>} */
    const fresh = new Map();
    const length = answer.view.shape[0] * answer.view.shape[1];
    for (const [i, part] of parts.entries()) {
      if (part instanceof Error) {
        if (BASIS.includes(wanted[i])) throw part;
        continue;
      }
      if (!isOf(part, generation, revision) && !(last && (part.generation ?? generation) === generation)) return false;
      const dtype = answer.view.layers.find((layer) => layer.name === wanted[i].split(" ")[0])?.dtype ?? "u8";
      fresh.set(wanted[i], { values: valuesOf(part.buffer, dtype, length), generation, revision });
    }
    if (this.#closed) return true;
    const news = generation !== this.generation || revision !== this.revision || epoch !== this.#epoch;
    if (news) this.layers = fresh;
    else for (const [key, layer] of fresh) this.layers.set(key, layer);
    Object.assign(this, { view: answer.view, generation, revision, problem: "", waiting: false });
    this.#epoch = epoch;
    this.tell({ at, generation: news });
    return true;
  }

  /** @param {string} key @param {AbortSignal} signal */
  async #layer(key, signal) {
    const [name, energy] = key.split(" ");
    const query = energy === undefined ? "" : `?energy=${energy}`;
    const response = await request(`${this.base}/layers/${name}.bin${query}`, { signal });
    return { buffer: await response.arrayBuffer(), ...origin(response) };
  }
}
