// @ts-check
// Curves as SVG: axes with round numbers, lines, points with error bars, bands, stacked areas; a reading under the pointer.

import { fill, h, svg } from "./dom.js";
import { niceStep, number } from "./format.js";

/**
 * @typedef {object} Series
 * @property {"line"|"points"|"band"|"steps"} kind
 * @property {number[]} x
 * @property {(number|null)[]} y
 * @property {(number|null)[]} [low] lower edge of a band
 * @property {(number|null)[]} [error]
 * @property {string} [colour] as the data say it; else the class has it
 * @property {string} [class]
 * @property {string} [label] named in the legend and in the reading
 */
/** @typedef {{ label: string, low?: number, high?: number }} Axis */
/** @typedef {{ x: number, class?: string, label?: string }} Mark */
/** @typedef {{ label: string, x: Axis, y: Axis, series: Series[], marks?: Mark[], height?: number, legend?: boolean, digits?: number }} Spec */

const EDGE = { left: 50, right: 12, top: 10, bottom: 36 };

/** @param {(number|null|undefined)[]} values @returns {[number, number]} */
function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null || value === undefined || !Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** @param {number} low @param {number} high @param {number} most */
function ticks(low, high, most) {
  const step = niceStep((high - low) / Math.max(1, most));
  const list = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) list.push(i * step);
  return { list, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

export class Chart {
  /** @type {Spec|null} */
  #spec = null;
  #width = 0;

  /** @param {string} [test] */
  constructor(test) {
    this.reading = h("p", { class: "reading", "aria-hidden": "true" });
    this.plot = h("div", { class: "plot" });
    this.element = h("figure", { class: "chart", test }, this.plot, this.reading);
    new ResizeObserver(() => {
      if (Math.abs(this.plot.clientWidth - this.#width) > 1) this.#render();
    }).observe(this.plot);
  }

  /** @param {Spec} spec */
  draw(spec) {
    this.#spec = spec;
    this.#render();
  }

  #render() {
    const spec = this.#spec;
    const width = this.plot.clientWidth;
    if (!spec || width < 40) return;
    this.#width = width;
    const height = spec.height ?? 190;
    const scales = this.#scales(spec, width, height);
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spec.label });
    picture.append(...axes(spec, scales, width, height));
    const clip = svg("g", {});
    for (const mark of spec.marks ?? []) {
      const x = scales.x(mark.x);
      clip.append(svg("line", { x1: x, x2: x, y1: EDGE.top, y2: height - EDGE.bottom, class: `mark ${mark.class ?? ""}` }));
      if (mark.label) clip.append(svg("text", { x: x + 4, y: EDGE.top + 9, class: "mark-label", text: mark.label }));
    }
    for (const series of spec.series) clip.append(...shapes(series, scales));
    picture.append(clip);
    const hair = svg("line", { y1: EDGE.top, y2: height - EDGE.bottom, class: "hair", visibility: "hidden" });
    picture.append(hair);
    picture.addEventListener("pointermove", (event) => this.#read(event, spec, scales, hair));
    picture.addEventListener("pointerleave", () => {
      hair.setAttribute("visibility", "hidden");
      this.reading.textContent = "";
    });
    fill(this.plot, picture, spec.legend === false ? null : legend(spec.series));
  }

  /** @param {Spec} spec @param {number} width @param {number} height */
  #scales(spec, width, height) {
    const xs = extent(spec.series.flatMap((series) => series.x));
    const ys = extent(
      spec.series.flatMap((series) => series.y.flatMap((value, i) => {
        const error = series.error?.[i] ?? 0;
        return value === null ? [] : [value - error, value + error, series.low?.[i] ?? value];
      })),
    );
    const [x0, x1] = [spec.x.low ?? (Number.isFinite(xs[0]) ? xs[0] : 0), spec.x.high ?? (Number.isFinite(xs[1]) ? xs[1] : 1)];
    const room = Number.isFinite(ys[0]) ? Math.max((ys[1] - ys[0]) * 0.06, Math.abs(ys[1]) * 1e-6, 1e-9) : 0;
    const [y0, y1] = [spec.y.low ?? (Number.isFinite(ys[0]) ? ys[0] - room : 0), spec.y.high ?? (Number.isFinite(ys[1]) ? ys[1] + room : 1)];
    const [spanX, spanY] = [x1 - x0 || 1, y1 - y0 || 1];
    return {
      x0, x1: x0 + spanX, y0, y1: y0 + spanY,
      x: (/** @type {number} */ value) => EDGE.left + ((width - EDGE.left - EDGE.right) * (value - x0)) / spanX,
      y: (/** @type {number} */ value) => Math.max(EDGE.top - 4, Math.min(height - EDGE.bottom + 4, height - EDGE.bottom - ((height - EDGE.top - EDGE.bottom) * (value - y0)) / spanY)),
      value: (/** @type {number} */ px) => x0 + ((px - EDGE.left) * spanX) / (width - EDGE.left - EDGE.right),
    };
  }

  /** @param {PointerEvent} event @param {Spec} spec @param {Scales & { value: (px: number) => number }} scales @param {SVGLineElement} hair */
  #read(event, spec, scales, hair) {
    const wanted = scales.value(event.offsetX);
    let nearest = NaN;
    for (const series of spec.series) for (const x of series.x) if (!(Math.abs(x - wanted) >= Math.abs(nearest - wanted))) nearest = x;
    if (!Number.isFinite(nearest)) return;
    hair.setAttribute("visibility", "visible");
    hair.setAttribute("x1", String(scales.x(nearest)));
    hair.setAttribute("x2", String(scales.x(nearest)));
    const parts = spec.series.flatMap((series) => {
      const i = series.x.indexOf(nearest);
      const value = i < 0 ? null : series.y[i];
      if (value === null || value === undefined || !series.label) return [];
      const own = series.low ? value - (series.low[i] ?? 0) : value;
      const error = series.error?.[i];
      return [`${series.label} ${number(own, spec.digits ?? 3)}${error ? ` ± ${number(error, 2)}` : ""}`];
    });
    this.reading.textContent = `${number(nearest, 5)}: ${parts.join(" · ")}`;
  }
}

/** @typedef {{ x0: number, x1: number, y0: number, y1: number, x: (value: number) => number, y: (value: number) => number }} Scales */

/** @param {Spec} spec @param {Scales} scales @param {number} width @param {number} height */
function axes(spec, scales, width, height) {
  const parts = [];
  const bottom = height - EDGE.bottom;
  const across = ticks(scales.x0, scales.x1, Math.max(2, Math.floor(width / 80)));
  for (const value of across.list) {
    parts.push(svg("line", { x1: scales.x(value), x2: scales.x(value), y1: bottom, y2: bottom + 4, class: "axis" }));
    parts.push(svg("text", { x: scales.x(value), y: bottom + 16, class: "tick", "text-anchor": "middle", text: value.toFixed(across.digits) }));
  }
  const up = ticks(scales.y0, scales.y1, Math.max(2, Math.floor(height / 38)));
  for (const value of up.list) {
    parts.push(svg("line", { x1: EDGE.left, x2: width - EDGE.right, y1: scales.y(value), y2: scales.y(value), class: "grid" }));
    parts.push(svg("text", { x: EDGE.left - 6, y: scales.y(value) + 4, class: "tick", "text-anchor": "end", text: up.digits > 4 ? number(value, 2) : value.toFixed(up.digits) }));
  }
  parts.push(svg("line", { x1: EDGE.left, x2: width - EDGE.right, y1: bottom, y2: bottom, class: "axis" }));
  parts.push(svg("text", { x: (EDGE.left + width - EDGE.right) / 2, y: height - 5, class: "axis-label", "text-anchor": "middle", text: spec.x.label }));
  const middle = (EDGE.top + bottom) / 2;
  parts.push(svg("text", { x: 12, y: middle, class: "axis-label", "text-anchor": "middle", transform: `rotate(-90 12 ${middle})`, text: spec.y.label }));
  return parts;
}

/** A colour that came with the data wins over the one of the class. @param {SVGElement} shape @param {Series} series */
function tint(shape, series) {
  if (series.colour && series.kind !== "band") shape.style.stroke = series.colour;
  if (series.colour && series.kind !== "line" && series.kind !== "steps") shape.style.fill = series.colour;
  return shape;
}

/** @param {Series} series @param {Scales} scales */
function shapes(series, scales) {
  const name = `series ${series.kind} ${series.class ?? ""}`;
  const tinted = (/** @type {SVGElement} */ shape) => tint(shape, series);
  if (series.kind === "points") {
    return series.x.flatMap((x, i) => {
      const y = series.y[i];
      if (y === null || y === undefined) return [];
      const error = series.error?.[i] ?? 0;
      const [px, py] = [scales.x(x), scales.y(y)];
      const bar = error > 0 ? [svg("line", { x1: px, x2: px, y1: scales.y(y - error), y2: scales.y(y + error), class: `${name} bar` })] : [];
      return [...bar, svg("circle", { cx: px, cy: py, r: 2.4, class: name })].map(tinted);
    });
  }
  // A missing value is a gap, not a line across it.
  const runs = [];
  let run = [];
  for (let i = 0; i < series.x.length; i += 1) {
    if (series.y[i] === null || series.y[i] === undefined || !Number.isFinite(series.y[i])) {
      if (run.length > 0) runs.push(run);
      run = [];
    } else run.push(i);
  }
  if (run.length > 0) runs.push(run);
  return runs.map((indices) => {
    const point = (/** @type {number} */ i, /** @type {number|null|undefined} */ value) => `${scales.x(series.x[i]).toFixed(1)} ${scales.y(value ?? 0).toFixed(1)}`;
    let d = indices.map((i, at) => `${at === 0 ? "M" : series.kind === "steps" ? `H${scales.x(series.x[i]).toFixed(1)}L` : "L"}${point(i, series.y[i])}`).join("");
    if (series.kind === "band") d += `${[...indices].reverse().map((i) => `L${point(i, series.low?.[i])}`).join("")}Z`;
    return tinted(svg("path", { d, class: name }));
  });
}

/** @param {Series[]} series */
function legend(series) {
  const named = series.filter((one) => one.label);
  if (named.length < 2) return null;
  const sample = (/** @type {Series} */ one) => {
    const mark = one.kind === "points" ? svg("circle", { cx: 9, cy: 6, r: 3, class: `series points ${one.class ?? ""}` })
      : one.kind === "band" ? svg("rect", { x: 2, y: 1, width: 14, height: 10, class: `series band ${one.class ?? ""}` })
      : svg("line", { x1: 0, x2: 18, y1: 6, y2: 6, class: `series line ${one.class ?? ""}` });
    return h("li", {}, svg("svg", { width: 18, height: 12, "aria-hidden": "true" }, tint(mark, one)), one.label);
  };
  return h("ul", { class: "chart-legend" }, ...named.map(sample));
}

/** Bands one above the other, of shares; a gap where there is nothing to share. @param {number[]} x @param {{ label: string, colour: string, y: number[] }[]} parts @returns {Series[]} */
export function stacked(x, parts) {
  const base = x.map(() => 0);
  const some = x.map((_, i) => parts.some((part) => part.y[i] > 0));
  return parts.map(({ label, colour, y }) => {
    const low = [...base];
    for (const [i, value] of y.entries()) base[i] += value;
    return { kind: "band", x, y: base.map((value, i) => (some[i] ? value : null)), low, colour, label };
  });
}
