// @ts-check
// Outlines and numbers of particles over the map, and which particle lies where.
//
// All of them are one path in pixels of the map, stroked into a picture that is kept: it is drawn anew where the map is moved or zoomed or
// the particles are others, not where the pointer moves.

/** @typedef {import("./types.js").Particle} Particle */
/** @typedef {import("./map-view.js").MapView} MapView */
/** @typedef {{ id: number, polygons: number[][][], path: Path2D, box: [number, number, number, number], middle: [number, number] }} Shape box: columns, rows from and to */

/** Lines, from outside: width of the paper below and of the ink, screen pixels. */
const THIN = [2.8, 1.1];
const POINTED = [4.5, 2];
const PICKED = [6.5, 3.5];
const FONT = "600 12px system-ui, sans-serif";
/** A particle that is smaller on the screen has its number only when it is picked or pointed at, pixels. */
const LEAST_HEIGHT = 15;

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
  #kept = document.createElement("canvas");
  #key = "";
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
    this.#key = "";
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
    const key = [width, height, ratio, x, y, x1, y1, ink, paper].join();
    if (key !== this.#key) {
      this.#key = key;
      Object.assign(this.#kept, { width, height });
      const own = /** @type {CanvasRenderingContext2D} */ (this.#kept.getContext("2d"));
      own.setTransform(ratio, 0, 0, ratio, 0, 0);
      stroke(own, this.#all, matrix, THIN, ink, paper);
      for (const shape of this.#shapes) if (Math.abs((shape.box[3] - shape.box[1]) * (y1 - y)) >= LEAST_HEIGHT) this.#number(own, map, shape, ink, paper);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.#kept, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (const [id, widths] of /** @type {[number|null, number[]][]} */ ([[this.pointed === this.picked ? null : this.pointed, POINTED], [this.picked, PICKED]])) {
      const shape = this.#shapes.find((one) => one.id === id);
      if (!shape) continue;
      stroke(context, shape.path, matrix, widths, ink, paper);
      this.#number(context, map, shape, ink, paper);
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
  context.lineJoin = "round";
  for (const [i, colour] of [paper, ink].entries()) {
    context.strokeStyle = colour;
    context.lineWidth = widths[i];
    context.stroke(placed);
  }
  context.restore();
}
