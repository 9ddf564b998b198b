// @ts-check
// Outlines and numbers of particles over the map, and which particle lies where.
//
// All of them are one path in pixels of the map, stroked into a picture that is kept: it is drawn anew where the map is moved or zoomed or
// the particles are others, not where the pointer moves.

/** @typedef {import("./types.js").Particle} Particle */
/** @typedef {import("./map-view.js").MapView} MapView */
/** @typedef {{ id: number, polygons: number[][][], path: Path2D, box: [number, number, number, number], middle: [number, number] }} Shape box: columns, rows from and to */

/** How far the map is moved before they are drawn anew, screen pixels. */
const MARGIN = 160;
/** Lines, from outside: width of the paper below and of the ink, screen pixels. */
const THIN = [2.8, 1.1];
const POINTED = [4.5, 2];
const PICKED = [6.5, 3.5];
const FONT = "600 12px system-ui, sans-serif";
/** A particle that is not so much larger on the screen than its number has it only when it is picked or pointed at, pixels. */
const ROOM = 6;
const TEXT_HEIGHT = 12;

/** Whether a point is in an odd number of polygons whose sides run along pixels. @param {number[][][]} polygons @param {number} x @param {number} y */
export function isWithin(polygons, x, y) {
  let inside = false;
  for (const polygon of polygons) {
    for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i, i += 1) {
      if (polygon[i][0] > x && polygon[i][1] > y !== polygon[j][1] > y) inside = !inside;
    }
  }
  return inside;
}

/** @param {Particle} particle @returns {Shape[]} none where it has no outline */
function shapeOf({ id, outline, centre_px: [row, column] }) {
  const polygons = outline ?? [];
  if (polygons.length === 0 || polygons[0].length === 0) return [];
  const path = new Path2D();
  const box = /** @type {[number, number, number, number]} */ ([Infinity, Infinity, -Infinity, -Infinity]);
  for (const polygon of polygons) {
    for (const [i, [x, y]] of polygon.entries()) {
      path[i === 0 ? "moveTo" : "lineTo"](x, y);
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x);
      box[3] = Math.max(box[3], y);
    }
    path.closePath();
  }
  // The centre of a crescent is not in it; its first pixel is.
  const centre = /** @type {[number, number]} */ ([column + 0.5, row + 0.5]);
  const first = /** @type {[number, number]} */ ([polygons[0][0][0] + 0.5, polygons[0][0][1] + 0.5]);
  return [{ id, polygons, path, box, middle: isWithin(polygons, ...centre) ? centre : first }];
}

export class MapOutlines {
  /** @type {Shape[]} */
  #shapes = [];
  #all = new Path2D();
  #picture = document.createElement("canvas");
  /** @type {{ key: string, x: number, y: number, margin: number }|null} What the picture is of: x and y are where the first pixel was. */
  #kept = null;
  /** Whether they are drawn. */
  isOn = true;
  /** @type {number|null} */
  picked = null;
  /** @type {number|null} */
  pointed = null;

  /** @param {Particle[]} particles */
  set(particles) {
    this.#shapes = particles.flatMap(shapeOf);
    this.#all = new Path2D();
    for (const shape of this.#shapes) this.#all.addPath(shape.path);
    this.#kept = null;
  }

  /** The particle at a place of the map; null where there is none. @param {number} column @param {number} row */
  at(column, row) {
    const here = this.#shapes.find(({ box, polygons }) => column >= box[0] && column < box[2] && row >= box[1] && row < box[3] && isWithin(polygons, column, row));
    return here?.id ?? null;
  }

  /** Where the number of a particle stands: column and row. @param {number} id */
  middleOf(id) {
    return this.#shapes.find((shape) => shape.id === id)?.middle ?? null;
  }

  /** @param {CanvasRenderingContext2D} context in screen pixels @param {MapView} map @param {number} ratio @param {[string, string]} colours ink and paper */
  draw(context, map, ratio, [ink, paper]) {
    if (!this.isOn || this.#shapes.length === 0) return;
    const { width, height } = map.canvas;
    const [x, y] = map.toScreen(0, 0);
    const [x1, y1] = map.toScreen(1, 1);
    const matrix = new DOMMatrix([x1 - x, 0, 0, y1 - y, x, y]);
    const key = [width, height, ratio, (x1 - x).toFixed(6), (y1 - y).toFixed(6), ink, paper].join();
    const far = this.#kept && key === this.#kept.key ? Math.max(Math.abs(x - this.#kept.x), Math.abs(y - this.#kept.y)) : Infinity;
    if (!this.#kept || far > this.#kept.margin) {
      // Some more all around, where it is moved and not zoomed.
      const margin = this.#kept?.key === key ? MARGIN : 0;
      this.#kept = { key, x, y, margin };
      Object.assign(this.#picture, { width: width + 2 * Math.round(margin * ratio), height: height + 2 * Math.round(margin * ratio) });
      this.#drawAll(map, ratio, matrix, margin, [ink, paper]);
    }
    const { x: left, y: top, margin } = this.#kept;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.#picture, Math.round((x - left - margin) * ratio), Math.round((y - top - margin) * ratio));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const [id, widths] of /** @type {[number|null, number[]][]} */ ([[this.pointed === this.picked ? null : this.pointed, POINTED], [this.picked, PICKED]])) {
      const shape = this.#shapes.find((one) => one.id === id);
      if (!shape) continue;
      stroke(context, shape.path, matrix, widths, ink, paper);
      this.#number(context, map, shape, ink, paper);
    }
  }

  /** @param {MapView} map @param {number} ratio @param {DOMMatrix} matrix @param {number} margin @param {[string, string]} colours */
  #drawAll(map, ratio, matrix, margin, [ink, paper]) {
    const context = /** @type {CanvasRenderingContext2D} */ (this.#picture.getContext("2d"));
    const shift = Math.round(margin * ratio);
    context.setTransform(ratio, 0, 0, ratio, shift, shift);
    stroke(context, this.#all, matrix, THIN, ink, paper);
    context.font = FONT;
    for (const shape of this.#shapes) {
      const [wide, high] = [Math.abs((shape.box[2] - shape.box[0]) * matrix.a), Math.abs((shape.box[3] - shape.box[1]) * matrix.d)];
      if (high >= TEXT_HEIGHT + ROOM && wide >= context.measureText(String(shape.id)).width + ROOM) this.#number(context, map, shape, ink, paper);
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {MapView} map @param {Shape} shape @param {string} ink @param {string} paper */
  #number(context, map, shape, ink, paper) {
    const [x, y] = map.toScreen(...shape.middle);
    const text = String(shape.id);
    context.save();
    Object.assign(context, { font: FONT, textAlign: "center", textBaseline: "middle", lineJoin: "round", lineWidth: 3.5, strokeStyle: paper, fillStyle: ink });
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
    context.restore();
  }
}

/** Two strokes, so that it is seen on any colour. @param {CanvasRenderingContext2D} context @param {Path2D} path @param {DOMMatrix} matrix @param {number[]} widths @param {string} ink @param {string} paper */
function stroke(context, path, matrix, widths, ink, paper) {
  const placed = new Path2D();
  placed.addPath(path, matrix);
  context.save();
  for (const [i, colour] of [paper, ink].entries()) {
    context.strokeStyle = colour;
    context.lineWidth = widths[i];
    context.stroke(placed);
  }
  context.restore();
}
