// @ts-check
// What is said of one particle: its numbers in words, its mean state as a bar with whiskers, its phases, and what makes it doubtful.

import { h, svg, swatch } from "./dom.js";
import { number, percent } from "./format.js";
import { fractionBar } from "./trends.js";

/** @typedef {import("./types.js").Particle} Particle */
/** @typedef {import("./types.js").Findings} Findings */
/** @typedef {import("./types.js").Estimate} Estimate */
/** @typedef {import("./types.js").View} View */

const WIDE = 112;
const HIGH = 14;
/** Part of a particle that no phase could be given, from which it is said in the list. */
const MUCH_UNKNOWN = 0.1;

/** Its area, in µm² where the unit of the grid is a length. @param {Particle} particle @returns {{ value: number, sigma: number, unit: string }} */
export const areaOf = ({ area_um2: um2, area_px: px }) => (um2 ? { ...um2, unit: "µm²" } : { ...px, unit: "pixels" });

/** @param {Estimate} estimate @param {number} [digits] */
const withError = ({ value, sigma }, digits = 3) => `${number(value, digits)} ± ${number(sigma, 2)}`;

/** What makes a particle doubtful, in short. @param {Particle} particle @returns {{ word: string, why: string }[]} */
export function doubtsOf({ at_border: isCut, overlaps, touches, unknown }) {
  return [
    ...(isCut ? [{ word: "at border", why: "the field cuts it off: area and shares are of what is seen" }] : []),
    ...(overlaps ? [{ word: "overlaps", why: "lies over another particle or under one: area, thickness and shares are of what lies there together" }] : []),
    ...(touches.length > 0 ? [{ word: `touches ${touches.join(", ")}`, why: "the cut between particles that touch is a guess" }] : []),
    ...(unknown >= MUCH_UNKNOWN ? [{ word: `${percent(unknown, 0)} unnamed`, why: "so much of it could be given no phase" }] : []),
  ];
}

/** The phases of a particle, the larger first. @param {Particle} particle @param {Findings} findings @param {View} view */
function sharesOf(particle, findings, view) {
  return particle.shares.map((share, i) => {
    const known = view.phases.find((phase) => phase.phase === findings.phases[i]);
    return { title: known?.title ?? findings.phases[i] ?? "", colour: known?.colour ?? [136, 136, 136], fraction: share.value, sigma: share.sigma };
  });
}

/** The phases as a bar, in the order of the legend. @param {Particle} particle @param {Findings} findings @param {View} view */
export const sharesBar = (particle, findings, view) => fractionBar(sharesOf(particle, findings, view).map((share) => ({ ...share, phase: "", colour: /** @type {import("./types.js").Rgb} */ (share.colour) })));

/**
 * The range of the state variable: that of the references, the same for all particles and all generations.
 * @param {Findings} findings
 * @param {View} view
 * @returns {[number, number]}
 */
export function rangeOfState(findings, view) {
  const states = view.phases.flatMap((phase) => (phase.state && phase.state.name === findings.variable ? [phase.state.value] : []));
  const all = [...states, ...findings.particles.flatMap(({ x }) => (x ? [x.low, x.high] : []))];
  return all.length === 0 ? [0, 1] : [Math.min(...all), Math.max(...all)];
}

/** @param {import("./types.js").Interval} x */
export const intervalText = ({ low, middle, high }) => `${middle.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;

/** A mean with its interval, over the range of the references, whose states are the ticks. @param {import("./types.js").Interval} x @param {[number, number]} range @param {View} view */
export function intervalBar(x, [from, to], view) {
  const at = (/** @type {number} */ value) => Number((4 + ((WIDE - 8) * (value - from)) / (to - from || 1)).toFixed(1));
  const middle = HIGH / 2;
  const cap = (/** @type {number} */ value) => svg("line", { x1: at(value), x2: at(value), y1: middle - 3.5, y2: middle + 3.5, class: "whisker" });
  return svg("svg", { class: "interval-bar", width: WIDE, height: HIGH, viewBox: `0 0 ${WIDE} ${HIGH}`, "aria-hidden": "true" },
    svg("line", { x1: 4, x2: WIDE - 4, y1: middle, y2: middle, class: "track" }),
    ...view.phases.flatMap(({ state }) => (state ? [svg("line", { x1: at(state.value), x2: at(state.value), y1: HIGH - 3, y2: HIGH, class: "track" })] : [])),
    svg("line", { x1: at(x.low), x2: at(x.high), y1: middle, y2: middle, class: "whisker" }), cap(x.low), cap(x.high),
    svg("circle", { cx: at(x.middle), cy: middle, r: 3, class: "middle" }));
}

/** All that is said of a particle. @param {Particle} particle @param {Findings} findings @param {View} view @returns {HTMLElement[]} */
export function factsOf(particle, findings, view) {
  const { x, thickness_nm: thickness, entropy_bits: entropy, x_spread: spread, unknown } = particle;
  const area = areaOf(particle);
  const value = (/** @type {string} */ text) => h("span", { class: "value", text });
  const variable = findings.variable ?? "state";
  const shares = sharesOf(particle, findings, view).filter((share) => share.fraction >= 0.005).sort((a, b) => b.fraction - a.fraction);
  const differs = [entropy === null ? "" : `entropy ${number(entropy, 2)} bits`, spread === null ? "" : `${variable} ± ${number(spread, 2)} from pixel to pixel`].filter(Boolean).join(", ");
  return [
    h("strong", { text: `Particle ${particle.id}` }),
    value(`area ${withError(area)} ${area.unit}`),
    ...(thickness ? [value(`thickness ${withError(thickness)} nm`)] : []),
    ...(x ? [value(`${variable} ${intervalText(x)}`)] : []),
    ...shares.map(({ title, colour, fraction, sigma }) => h("span", { class: "value" }, swatch(colour), `${title} ${percent(fraction, 0)} ± ${(100 * sigma).toFixed(0)}`)),
    ...(unknown >= 0.005 ? [value(`unnamed ${percent(unknown, 0)}`)] : []),
    ...(differs ? [value(`heterogeneity: ${differs}`)] : []),
    ...doubtsOf(particle).map(({ word, why }) => h("span", { class: "caution", title: why, text: word })),
  ];
}

/** The same for those who listen. @param {Particle} particle @param {Findings} findings @param {View} view */
export const factsAloud = (particle, findings, view) => factsOf(particle, findings, view).map((fact) => fact.textContent).join(", ");

