// @ts-check
// Colours of numbers and of words. Phases have theirs from the references.
//
// Numbers: a path through OKLab from a dark violet-blue by teal to a light yellow, along which lightness only rises and each
// step looks as large as the next; so it reads the same in grey and to people who do not see red and green. Words: eight
// colours that differ in lightness as well as in hue.

/** @typedef {import("./types.js").Rgb} Rgb */

const STEPS = 256;

/** @param {number} L @param {number} a @param {number} b @returns {[number, number, number]} linear sRGB */
function linearFromOklab(L, a, b) {
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

/** @param {number} value */
const encoded = (value) => 255 * (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055);

/** A point of the path, as far from grey as the screen can show. @param {number} t 0 to 1 */
function onPath(t) {
  const L = 0.24 + 0.7 * t;
  const hue = ((292 - 187 * t) * Math.PI) / 180;
  let chroma = 0.09 + 0.07 * t;
  for (;;) {
    const [a, b] = [chroma * Math.cos(hue), chroma * Math.sin(hue)];
    const linear = linearFromOklab(L, a, b);
    if (chroma < 0.005 || linear.every((value) => value >= 0 && value <= 1)) {
      return { lab: [L, a, b], colour: /** @type {Rgb} */ (linear.map((value) => Math.round(encoded(Math.min(1, Math.max(0, value)))))) };
    }
    chroma -= 0.004;
  }
}

/** @returns {Rgb[]} */
function evenly() {
  const fine = Array.from({ length: 8 * STEPS }, (_, i) => onPath(i / (8 * STEPS - 1)));
  const along = [0];
  for (let i = 1; i < fine.length; i += 1) {
    along.push(along[i - 1] + Math.hypot(...fine[i].lab.map((value, axis) => value - fine[i - 1].lab[axis])));
  }
  let i = 0;
  return Array.from({ length: STEPS }, (_, step) => {
    const wanted = (along[along.length - 1] * step) / (STEPS - 1);
    while (i < fine.length - 1 && along[i] < wanted) i += 1;
    return fine[i].colour;
  });
}

/** The colours of numbers, from low to high. */
export const SCALE = evenly();

/** One pixel of an ImageData as a number; the page runs on little-endian machines, as does every browser today. @param {ArrayLike<number>} colour @param {number} [alpha] */
export const packed = (colour, alpha = 255) => ((alpha << 24) | (colour[2] << 16) | (colour[1] << 8) | colour[0]) >>> 0;

export const PACKED_SCALE = Uint32Array.from(SCALE, (colour) => packed(colour));

/** @type {Record<string, Rgb>} */
const WORDS = {
  background: [128, 136, 144],
  none: [128, 136, 144],
  saturated: [136, 34, 85],
  classified: [68, 170, 153],
  mixture: [221, 204, 119],
  unknown: [170, 68, 153],
  ambiguous: [136, 204, 238],
  noise: [136, 204, 238],
  indistinguishable: [204, 102, 119],
  reference: [170, 68, 153],
  pearson: [68, 170, 153],
  gmvae: [221, 204, 119],
  neighbours: [136, 204, 238],
};
/** @type {Rgb[]} */
const OTHERS = [[51, 34, 136], [17, 119, 51], [153, 153, 51], [204, 102, 119]];

/** The colour of a category; null where there is nothing to show. @param {string} name @param {number} index @returns {Rgb|null} */
export const wordColour = (name, index) => (name === "unmeasured" ? null : (WORDS[name] ?? OTHERS[index % OTHERS.length]));

/** @param {ArrayLike<number>} colour @param {ArrayLike<number>} other @param {number} share of the other @returns {Rgb} */
export const blend = (colour, other, share) =>
  /** @type {Rgb} */ ([0, 1, 2].map((i) => Math.round(colour[i] + (other[i] - colour[i]) * share)));

/** The ground of the map, and what is neither sample nor missing, in the present theme. */
export function grounds() {
  const style = getComputedStyle(document.documentElement);
  const read = (/** @type {string} */ name) => {
    const parts = style.getPropertyValue(name).trim().split(/\s+/).map(Number);
    return /** @type {Rgb} */ (parts.length === 3 ? parts : [0, 0, 0]);
  };
  return { well: read("--well-rgb"), empty: read("--empty-rgb"), ink: read("--ink-rgb") };
}
