// @ts-check
// What hands do to the map: mouse, touch, pen, and the keyboard, which can do all that the others can.

/** @typedef {import("./map-view.js").MapView} MapView */
/** @typedef {import("./map-view.js").Corner} Corner */
/** @typedef {"move"|"rectangle"|"lasso"} Tool */

/** A press that moves less than this is a click, screen pixels. */
const STILL = 4;
/** Corners of a lasso, at most: what the daemon takes. */
const MOST_CORNERS = 250;

export class MapHand {
  /** @type {Tool} */
  tool = "move";
  /** @type {Map<number, { x: number, y: number }>} */
  #pointers = new Map();
  /** @type {{ x: number, y: number, moved: boolean }|null} */
  #press = null;
  /** @type {Corner|null} Where a rectangle by keyboard begins. */
  #anchor = null;

  /** @param {MapView} map */
  constructor(map) {
    this.map = map;
    const { canvas } = map;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#moved(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#cancel(event));
    canvas.addEventListener("pointerleave", () => map.setCursor(null));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("dblclick", () => this.tool === "move" && map.fit());
  }

  /** @param {Tool} tool */
  setTool(tool) {
    this.tool = tool;
    this.#anchor = null;
    this.map.draft = null;
    this.map.canvas.dataset.tool = tool;
    this.map.listener.tool?.(tool);
    this.map.redraw();
  }

  /** @param {PointerEvent|WheelEvent} event */
  #at(event) {
    const box = this.map.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0) return;
    const at = this.#at(event);
    this.map.canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, at);
    if (this.#pointers.size > 1) {
      // The second finger turns a drag into a pinch.
      this.#press = null;
      this.map.draft = null;
      return;
    }
    this.#press = { ...at, moved: false };
    if (this.tool !== "move") this.map.draft = [this.#corner(at)];
  }

  /** @param {{ x: number, y: number }} at @returns {Corner} */
  #corner({ x, y }) {
    const [column, row] = this.map.toData(x, y);
    const [ny, nx] = this.map.shape;
    return [Math.min(nx, Math.max(0, column)), Math.min(ny, Math.max(0, row))];
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    const at = this.#at(event);
    const before = this.#pointers.get(event.pointerId);
    if (before) this.#pointers.set(event.pointerId, at);
    if (before && this.#pointers.size === 2) return this.#pinch(event.pointerId, before, at);
    const press = this.#press;
    if (before && press) {
      press.moved ||= Math.hypot(at.x - press.x, at.y - press.y) > STILL;
      if (press.moved && this.tool === "move") this.map.pan(at.x - before.x, at.y - before.y);
      if (press.moved && this.tool !== "move") this.#drag(at);
    }
    if (event.pointerType !== "touch" || !press?.moved) this.map.setCursor(this.map.pixelAt(at.x, at.y));
  }

  /** @param {{ x: number, y: number }} at */
  #drag(at) {
    const { map } = this;
    const corner = this.#corner(at);
    if (!map.draft) return;
    if (this.tool === "rectangle") map.draft = rectangle(map.draft[0], corner);
    else map.draft = [...map.draft, corner];
    map.redraw();
  }

  /** @param {number} id @param {{ x: number, y: number }} before @param {{ x: number, y: number }} at */
  #pinch(id, before, at) {
    const other = [...this.#pointers].find(([key]) => key !== id)?.[1];
    if (!other) return;
    const far = (/** @type {{ x: number, y: number }} */ one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
    this.map.pan((at.x - before.x) / 2, (at.y - before.y) / 2);
    this.map.zoom(far(at) / far(before), (at.x + other.x) / 2, (at.y + other.y) / 2);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    const press = this.#press;
    this.#cancel(event);
    if (!press) return;
    const { map } = this;
    const draft = map.draft;
    map.draft = null;
    if (press.moved && this.tool !== "move" && draft && draft.length > 2) {
      map.setRegion(thinned(draft));
      this.setTool("move");
      return;
    }
    const pixel = map.pixelAt(press.x, press.y);
    if (!press.moved && pixel) map.pin(pixel);
    map.redraw();
  }

  /** @param {PointerEvent} event */
  #cancel(event) {
    this.#pointers.delete(event.pointerId);
    this.#press = null;
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    const { x, y } = this.#at(event);
    this.map.zoom(Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) / 400), x, y);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey) return;
    const { map } = this;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const doing = way
      ? () => (event.altKey ? map.pan(-60 * way[0], -60 * way[1]) : this.#step(way[0], way[1], event.shiftKey ? 10 : 1))
      : { Enter: () => this.#enter(), " ": () => this.#enter(), Escape: () => this.#escape(), "+": () => map.zoom(1.4), "=": () => map.zoom(1.4),
          "-": () => map.zoom(1 / 1.4), 0: () => map.fit(), r: () => this.#begin() }[event.key];
    if (!doing) return;
    event.preventDefault();
    event.stopPropagation();
    doing();
  }

  /** Moves the cursor as it is seen, whichever way the axes run. @param {number} dx @param {number} dy @param {number} by */
  #step(dx, dy, by) {
    const { map } = this;
    const [ny, nx] = map.shape;
    if (nx === 0) return;
    const from = map.cursor ?? map.pinned ?? { row: Math.floor(map.camera.y), column: Math.floor(map.camera.x) };
    const within = (/** @type {number} */ value, /** @type {number} */ most) => Math.min(most - 1, Math.max(0, value));
    const pixel = { row: within(from.row + (map.flip[0] ? -dy : dy) * by, ny), column: within(from.column + (map.flip[1] ? -dx : dx) * by, nx) };
    map.setCursor(pixel, true);
    const [x, y] = map.toScreen(pixel.column + 0.5, pixel.row + 0.5);
    const { clientWidth: width, clientHeight: height } = map.host;
    const out = (/** @type {number} */ value, /** @type {number} */ most) => (value < 20 ? 20 - value : value > most - 20 ? most - 20 - value : 0);
    if (out(x, width) !== 0 || out(y, height) !== 0) map.pan(out(x, width), out(y, height));
    if (this.#anchor) {
      map.draft = rectangle(this.#anchor, [pixel.column + 0.5, pixel.row + 0.5]);
      map.redraw();
    }
  }

  #begin() {
    const { map } = this;
    if (map.shape[1] === 0) return;
    if (!map.cursor) this.#step(0, 0, 0);
    const { cursor } = map;
    if (!cursor) return;
    this.setTool("rectangle");
    this.#anchor = [cursor.column + 0.5, cursor.row + 0.5];
  }

  #enter() {
    const { map } = this;
    if (this.#anchor && map.draft && map.draft.length > 2) {
      // Both corners' pixels belong to it.
      const [columns, rows] = [map.draft.map((corner) => corner[0]), map.draft.map((corner) => corner[1])];
      const polygon = rectangle([Math.min(...columns) - 0.5, Math.min(...rows) - 0.5], [Math.max(...columns) + 0.5, Math.max(...rows) + 0.5]);
      this.setTool("move");
      map.setRegion(polygon);
    } else if (map.cursor) map.pin(map.cursor);
  }

  #escape() {
    const { map } = this;
    if (this.tool !== "move") this.setTool("move");
    else if (map.region) map.setRegion(null);
    else {
      map.pin(null);
      map.setCursor(null);
    }
  }
}

/** @param {Corner} a @param {Corner} b @returns {Corner[]} */
const rectangle = (a, b) => [a, [b[0], a[1]], b, [a[0], b[1]]];

/** No more corners than the daemon takes. @param {Corner[]} polygon */
function thinned(polygon) {
  const every = Math.ceil(polygon.length / MOST_CORNERS);
  return polygon.filter((_, i) => i % every === 0);
}

/**
 * Whether a point lies in a polygon.
 * @param {number[][]} polygon
 * @param {number} x
 * @param {number} y
 */
export function isInside(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i, i += 1) {
    const [[xi, yi], [xj, yj]] = [polygon[i], polygon[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}
