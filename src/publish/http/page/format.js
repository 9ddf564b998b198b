// @ts-check
// Numbers and times as people read them.

/** @param {number|null|undefined} share @param {number} [digits] */
export function percent(share, digits = 1) {
  return share === null || share === undefined || !Number.isFinite(share) ? "–" : `${(100 * share).toFixed(digits)} %`;
}

/**
 * A number with about `digits` that mean something.
 * @param {number|null|undefined} value
 * @param {number} [digits]
 */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(digits - 1).replace("e+", "e");
  return value.toFixed(Math.max(0, Math.min(6, digits - 1 - Math.floor(Math.log10(size)))));
}

/** @param {number|null|undefined} count */
export const whole = (count) => (typeof count === "number" ? Math.round(count).toLocaleString("en-GB").replaceAll(",", " ") : "–");

/** @param {number|null|undefined} bytes */
export function bytes(bytes) {
  if (typeof bytes !== "number") return "–";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let power = 0;
  let value = bytes;
  while (value >= 1000 && power < units.length - 1) {
    value /= 1000;
    power += 1;
  }
  return `${power === 0 ? value.toFixed(0) : number(value, 3)} ${units[power]}`;
}

/**
 * A length of time in its two largest units.
 * @param {number|null|undefined} seconds
 */
export function duration(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s < 600 ? `${s % 60} s` : ""}`.trim();
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** @param {string|number|Date} time */
export function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "–" : date.toLocaleTimeString("en-GB");
}

/** @param {string|number|Date} time */
export function moment(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "–";
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** @param {string} word */
export const words = (word) => word.replaceAll("_", " ");

/** @param {string} text */
export const capital = (text) => (text === "" ? "" : text[0].toUpperCase() + text.slice(1));

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export const count = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

/** Units as they are written. @param {string} unit */
export const unitName = (unit) => ({ um: "µm", um2: "µm²", nm2: "nm²", mm2: "mm²" })[unit] ?? unit;

/** Round steps for an axis or a scale bar: 1, 2 or 5 times a power of ten. @param {number} least */
export function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return ([1, 2, 5].find((step) => step * power >= least * (1 - 1e-9)) ?? 10) * power;
}
