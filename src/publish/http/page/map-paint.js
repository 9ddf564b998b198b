// @ts-check
// Values to colours: one pass over the pixels through a table of 32-bit colours, and masks for what is hatched.

import { PACKED_SCALE, blend, packed, wordColour } from "./colours.js";

/** @typedef {import("./types.js").View} View */
/** @typedef {import("./types.js").Rgb} Rgb */
/** @typedef {{ well: Rgb, empty: Rgb, ink: Rgb }} Grounds */
/** @typedef {"ambiguous"|"unknown"|"mixture"|"saturated"} Hatch */
/** @typedef {{ pixels: Uint32Array, hatched: Map<Hatch, Uint32Array>, low: number, high: number }} Painting */

const NONE = 0;

/**
 * The range that a layer of numbers is coloured over: as the daemon says, or what there is where it says nothing.
 * @param {ArrayLike<number>} values
 * @param {number} low
 * @param {number} high
 * @returns {[number, number]}
 */
export function rangeOf(values, low, high) {
  if (Number.isFinite(low) && Number.isFinite(high) && high > low) return [low, high];
  let [least, most] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i += 1) {
    if (values[i] < least) least = values[i];
    if (values[i] > most) most = values[i];
  }
  return most > least ? [least, most] : [Number.isFinite(least) ? least - 0.5 : 0, Number.isFinite(least) ? least + 0.5 : 1];
}

/**
 * What lies between the lowest and the highest 1 % of the values.
 * @param {ArrayLike<number>} values
 * @returns {[number, number]}
 */
export function mostOf(values) {
  const every = Math.max(1, Math.floor(values.length / 20_000));
  const some = [];
  for (let i = 0; i < values.length; i += every) if (Number.isFinite(values[i])) some.push(values[i]);
  some.sort((a, b) => a - b);
  const [low, high] = [some[Math.floor(some.length * 0.01)], some[Math.ceil(some.length * 0.99) - 1]];
  return high > low ? [low, high] : rangeOf(values, NaN, NaN);
}

/**
 * @param {View} view
 * @param {ArrayLike<number>} phase
 * @param {ArrayLike<number>} status
 * @param {Grounds} grounds
 * @param {boolean} isBestGuess whether the layer is `phase`, whose doubt is shown
 * @returns {Painting}
 */
function paintPhases(view, phase, status, grounds, isBestGuess) {
  const sure = new Uint32Array(256).fill(NONE);
  const paler = new Uint32Array(256).fill(packed(blend(grounds.empty, grounds.ink, 0.25)));
  for (const [i, { colour }] of view.phases.entries()) {
    sure[i] = packed(colour);
    paler[i] = packed(blend(colour, grounds.well, 0.38));
  }
  const code = (/** @type {string} */ name) => view.statuses.indexOf(name);
  const [unmeasured, background, saturated, mixture, unknown, ambiguous] = ["unmeasured", "background", "saturated", "mixture", "unknown", "ambiguous"].map(code);
  const [empty, dark, strange] = [packed(grounds.empty), packed(blend(grounds.empty, grounds.ink, 0.85)), packed(blend(grounds.empty, grounds.ink, 0.4))];
  const pixels = new Uint32Array(phase.length);
  const masks = { ambiguous: new Uint32Array(phase.length), unknown: new Uint32Array(phase.length), mixture: new Uint32Array(phase.length) };
  const counts = { ambiguous: 0, unknown: 0, mixture: 0 };
  const on = 0xff000000;
  for (let i = 0; i < pixels.length; i += 1) {
    const s = status[i];
    if (s === unmeasured) continue;
    if (s === background) pixels[i] = empty;
    else if (s === saturated) pixels[i] = dark;
    else if (!isBestGuess) pixels[i] = sure[phase[i]] || empty;
    else if (s === unknown) {
      pixels[i] = strange;
      masks.unknown[i] = on;
      counts.unknown += 1;
    } else if (s === ambiguous) {
      pixels[i] = paler[phase[i]];
      masks.ambiguous[i] = on;
      counts.ambiguous += 1;
    } else {
      pixels[i] = sure[phase[i]] || empty;
      if (s === mixture) {
        masks.mixture[i] = on;
        counts.mixture += 1;
      }
    }
  }
  /** @type {Map<Hatch, Uint32Array>} */
  const hatched = new Map();
  for (const kind of /** @type {const} */ (["ambiguous", "unknown", "mixture"])) if (counts[kind] > 0) hatched.set(kind, masks[kind]);
  return { pixels, hatched, low: 0, high: 0 };
}

/** @param {ArrayLike<number>} values @param {string[]} names @param {Grounds} grounds @returns {Painting} */
function paintWords(values, names, grounds) {
  const table = new Uint32Array(256).fill(NONE);
  for (const [i, name] of names.entries()) {
    const colour = name === "background" || name === "none" ? grounds.empty : wordColour(name, i);
    table[i] = colour ? packed(colour) : NONE;
  }
  const pixels = new Uint32Array(values.length);
  for (let i = 0; i < pixels.length; i += 1) pixels[i] = table[values[i]];
  return { pixels, hatched: new Map(), low: 0, high: 0 };
}

/** @param {ArrayLike<number>} values @param {number} low @param {number} high @returns {Painting} */
function paintNumbers(values, low, high) {
  const [from, to] = [low, high];
  const scale = 255.999 / (to - from);
  const pixels = new Uint32Array(values.length);
  for (let i = 0; i < pixels.length; i += 1) {
    const value = values[i];
    // NaN is neither: there is no value.
    if (value >= to) pixels[i] = PACKED_SCALE[255];
    else if (value < from) pixels[i] = PACKED_SCALE[0];
    else if (value >= from) pixels[i] = PACKED_SCALE[((value - from) * scale) | 0];
  }
  return { pixels, hatched: new Map(), low: from, high: to };
}

/** Only what no reference explains; the rest is quiet. @param {View} view @param {ArrayLike<number>} status @param {Grounds} grounds @returns {Painting} */
function paintUnknown(view, status, grounds) {
  const table = new Uint32Array(256).fill(packed(blend(grounds.empty, grounds.ink, 0.18)));
  const code = (/** @type {string} */ name) => view.statuses.indexOf(name);
  if (code("unmeasured") >= 0) table[code("unmeasured")] = NONE;
  if (code("background") >= 0) table[code("background")] = packed(grounds.empty);
  if (code("unknown") >= 0) table[code("unknown")] = packed([230, 120, 210]);
  const pixels = new Uint32Array(status.length);
  for (let i = 0; i < pixels.length; i += 1) pixels[i] = table[status[i]];
  return { pixels, hatched: new Map(), low: 0, high: 0 };
}

/**
 * Which pixels differ between two maps of one shape: what is alike is quiet, what one only knows is grey, the rest has the colour
 * of the second's phase.
 * @param {View} view of the second
 * @param {ArrayLike<number>} a phases
 * @param {ArrayLike<number>} b phases
 * @param {Grounds} grounds
 */
export function paintDifference(view, a, b, grounds) {
  const pixels = new Uint32Array(a.length);
  const [same, empty, one] = [0.22, 0, 0.6].map((share) => packed(blend(grounds.empty, grounds.ink, share)));
  const table = new Uint32Array(256);
  for (const [i, { colour }] of view.phases.entries()) table[i] = packed(colour);
  let [both, differ] = [0, 0];
  for (let i = 0; i < pixels.length; i += 1) {
    if (a[i] === b[i]) {
      pixels[i] = a[i] === 255 ? empty : same;
      if (a[i] !== 255) both += 1;
    } else if (a[i] === 255 || b[i] === 255) {
      pixels[i] = one;
    } else {
      pixels[i] = table[b[i]];
      both += 1;
      differ += 1;
    }
  }
  return { painting: /** @type {Painting} */ ({ pixels, hatched: new Map(), low: 0, high: 0 }), both, differ };
}

/**
 * Paints a layer; null where its values are not there.
 * @param {import("./scan-data.js").ScanData} data
 * @param {string} key as of `ScanData.shown`, or `unknown`
 * @param {Grounds} grounds
 * @param {boolean} [stretched] whether numbers are coloured over what there is, not over the range that the daemon says
 * @returns {Painting|null}
 */
export function paint(data, key, grounds, stretched = false) {
  const { view } = data;
  const status = data.values("status");
  const phase = data.values("phase");
  if (!view || !status || !phase) return null;
  if (key === "unknown") return paintUnknown(view, status, grounds);
  const values = data.values(key);
  const name = key.split(" ")[0];
  const layer = view.layers.find((one) => one.name === name);
  if (!values || !layer) return null;
  if (layer.kind === "phase") return paintPhases(view, values, status, grounds, name === "phase");
  if (layer.kind === "category") return paintWords(values, wordsOf(view, name), grounds);
  if (layer.kind === "flag") return paintNumbers(values, 0, 1);
  return paintNumbers(values, ...(stretched ? mostOf(values) : rangeOf(values, layer.low, layer.high)));
}

/** The words behind the codes of a layer. @param {View} view @param {string} name */
export function wordsOf(view, name) {
  return { status: view.statuses, method: view.methods, ambiguity: view.ambiguities }[name] ?? [];
}

/**
 * Takes the light off what is not picked.
 * @param {Uint32Array} pixels
 * @param {Uint8Array} lit
 * @param {ArrayLike<number>} ground
 */
export function dim(pixels, lit, ground) {
  for (let i = 0; i < pixels.length; i += 1) {
    if (lit[i] || pixels[i] === NONE) continue;
    const p = pixels[i];
    const part = (/** @type {number} */ shift, /** @type {number} */ channel) => ((((p >>> shift) & 255) * 22 + ground[channel] * 78) / 100) << shift;
    pixels[i] = (0xff000000 | part(16, 2) | part(8, 1) | part(0, 0)) >>> 0;
  }
}
