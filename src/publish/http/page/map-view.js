// @ts-check
// The map on its canvas: zoom and pan, scale bar, hatching, cursor, pin, regions. It knows pixels and colours, not phases.
//
// Panning moves a picture that is painted already: nothing is fetched or coloured anew, and it is drawn once per frame.

import { h } from "./dom.js";
import { niceStep, number, unitName } from "./format.js";
import { MapHand } from "./map-hand.js";

/** @typedef {import("./map-paint.js").Painting} Painting */
/** @typedef {import("./map-paint.js").Hatch} Hatch */
/** @typedef {{ row: number, column: number }} Pixel */
/** @typedef {[number, number]} Corner column, row */
/** @typedef {{ scale: number, x: number, y: number }} Camera scale: screen pixels per column; x, y: column and row in the middle */
/**
 * @typedef {object} MapListener
 * @property {(pixel: Pixel|null, byKeyboard: boolean) => void} [hover]
 * @property {(pixel: Pixel|null) => void} [pick]
 * @property {(polygon: Corner[]|null) => void} [region]
 * @property {(camera: Camera) => void} [camera]
 * @property {(tool: string) => void} [tool]
 */

/** Hatching as it was drawn: `left` and `top` are where the first pixel was then, in pixels of the canvas. @typedef {{ canvas: HTMLCanvasElement, scale: number, ratio: number, left: number, top: number, margin: number }} Hatching */

/** How far the map is moved before its hatching is drawn anew, screen pixels. */
const MARGIN = 160;
const LEAST_SCALE = 0.2;
const MOST_SCALE = 64;

export class MapView {
  /** @type {[number, number]} */
  shape = [0, 0];
  /** @type {[number, number]} */
  step = [1, 1];
  /** @type {[boolean, boolean]} */
  flip = [false, false];
  unit = "";
  /** @type {Pixel|null} */
  cursor = null;
  /** @type {Pixel|null} Cursor of a linked map. */
  shadow = null;
  /** @type {Pixel|null} */
  pinned = null;
  /** @type {Corner[]|null} */
  region = null;
  /** @type {Corner[]|null} A region that is being drawn. */
  draft = null;
  /** @type {import("./map-outlines.js").MapOutlines|null} What is drawn between the picture and the cursor. */
  outlines = null;
  /** @type {Camera} */
  camera = { scale: 1, x: 0, y: 0 };
  #fitted = true;
  #frame = 0;
  #image = document.createElement("canvas");
  /** @type {Map<Hatch, HTMLCanvasElement>} */
  #masks = new Map();
  #veil = document.createElement("canvas");
  /** @type {Hatching|null} */
  #hatching = null;
  #painted = false;
  /** @type {(() => void)[]} */
  #whenDrawn = [];

  /**
   * @param {string} label for those who do not see it
   * @param {MapListener} listener
   */
  constructor(label, listener) {
    this.listener = listener;
    this.canvas = h("canvas", {
      class: "map-canvas", tabindex: "0", role: "application", "aria-roledescription": "map", "aria-label": label, "data-test": "map-canvas",
    });
    this.host = h("div", { class: "map-host" }, this.canvas);
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.hand = new MapHand(this);
    this.observer = new ResizeObserver(() => this.#resize());
    this.observer.observe(this.host);
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** @param {import("./types.js").View} view */
  setGeometry(view) {
    const changed = this.shape[0] !== view.shape[0] || this.shape[1] !== view.shape[1];
    this.shape = view.shape;
    this.step = [Math.abs(view.step[0]) || 1, Math.abs(view.step[1]) || 1];
    this.flip = view.flip;
    this.unit = view.unit;
    if (changed) {
      [this.#image.height, this.#image.width] = view.shape;
      this.cursor = this.pinned = this.region = this.draft = null;
      this.#painted = false;
      this.fit();
    }
  }

  /** @param {Painting} painting @param {() => void} [whenDrawn] */
  setPainting(painting, whenDrawn) {
    put(this.#image, this.shape, painting.pixels);
    const spare = this.#masks;
    this.#masks = new Map();
    for (const [kind, mask] of painting.hatched) {
      const canvas = spare.get(kind) ?? document.createElement("canvas");
      if (canvas.height !== this.shape[0] || canvas.width !== this.shape[1]) [canvas.height, canvas.width] = this.shape;
      put(canvas, this.shape, mask);
      this.#masks.set(kind, canvas);
    }
    this.#hatching = null;
    this.#painted = true;
    if (whenDrawn) this.#whenDrawn.push(whenDrawn);
    this.redraw();
  }

  clear() {
    this.#painted = false;
    this.redraw();
  }

  /** Height of a row, as a multiple of the width of a column. */
  get aspect() {
    return this.step[0] / this.step[1];
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.host;
    const [ny, nx] = this.shape;
    if (nx === 0 || width === 0) return;
    this.#fitted = true;
    this.#move({ scale: Math.min(width / nx, height / (ny * this.aspect)) * 0.98, x: nx / 2, y: ny / 2 });
  }

  /** @param {Camera} camera @param {boolean} [quiet] */
  setCamera(camera, quiet = false) {
    this.#fitted = false;
    this.#move(camera, quiet);
  }

  /** @param {Camera} camera @param {boolean} [quiet] */
  #move(camera, quiet = false) {
    const [ny, nx] = this.shape;
    const within = (/** @type {number} */ value, /** @type {number} */ most) => Math.min(most, Math.max(0, value));
    this.camera = { scale: Math.min(MOST_SCALE, Math.max(LEAST_SCALE, camera.scale)), x: within(camera.x, nx), y: within(camera.y, ny) };
    if (!quiet) this.listener.camera?.(this.camera);
    this.redraw();
  }

  /** Zooms about a point of the canvas. @param {number} factor @param {number} [x] @param {number} [y] */
  zoom(factor, x = this.host.clientWidth / 2, y = this.host.clientHeight / 2) {
    const [column, row] = this.toData(x, y);
    const scale = Math.min(MOST_SCALE, Math.max(LEAST_SCALE, this.camera.scale * factor));
    const share = this.camera.scale / scale;
    this.setCamera({ scale, x: column + (this.camera.x - column) * share, y: row + (this.camera.y - row) * share });
  }

  /** Moves by screen pixels. @param {number} dx @param {number} dy */
  pan(dx, dy) {
    const { scale, x, y } = this.camera;
    const [sy, sx] = this.#signs();
    this.setCamera({ scale, x: x - (sx * dx) / scale, y: y - (sy * dy) / (scale * this.aspect) });
  }

  #signs() {
    return [this.flip[0] ? -1 : 1, this.flip[1] ? -1 : 1];
  }

  /** Column and row (not rounded) under a point of the canvas. @param {number} x @param {number} y @returns {Corner} */
  toData(x, y) {
    const { clientWidth: width, clientHeight: height } = this.host;
    const [sy, sx] = this.#signs();
    return [this.camera.x + (sx * (x - width / 2)) / this.camera.scale, this.camera.y + (sy * (y - height / 2)) / (this.camera.scale * this.aspect)];
  }

  /** @param {number} column @param {number} row @returns {[number, number]} */
  toScreen(column, row) {
    const { clientWidth: width, clientHeight: height } = this.host;
    const [sy, sx] = this.#signs();
    return [width / 2 + sx * (column - this.camera.x) * this.camera.scale, height / 2 + sy * (row - this.camera.y) * this.camera.scale * this.aspect];
  }

  /** The pixel under a point of the canvas. @param {number} x @param {number} y @returns {Pixel|null} */
  pixelAt(x, y) {
    const [column, row] = this.toData(x, y).map(Math.floor);
    return row >= 0 && row < this.shape[0] && column >= 0 && column < this.shape[1] ? { row, column } : null;
  }

  /** @param {Pixel|null} pixel @param {boolean} [byKeyboard] */
  setCursor(pixel, byKeyboard = false) {
    if (pixel?.row === this.cursor?.row && pixel?.column === this.cursor?.column) return;
    this.cursor = pixel;
    this.listener.hover?.(pixel, byKeyboard);
    this.redraw();
  }

  /** @param {Pixel|null} pixel */
  setShadow(pixel) {
    this.shadow = pixel;
    this.redraw();
  }

  /** @param {Pixel|null} pixel */
  pin(pixel) {
    this.pinned = pixel;
    this.listener.pick?.(pixel);
    this.redraw();
  }

  /** @param {Corner[]|null} polygon */
  setRegion(polygon) {
    this.draft = null;
    this.region = polygon;
    this.listener.region?.(polygon);
    this.redraw();
  }

  #resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.host;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.#hatching = null;
    if (this.#fitted) this.fit();
    this.redraw();
  }

  redraw() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.canvas;
    const context = this.context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (this.#painted && width > 0 && height > 0) {
      this.#place(context, this.#image, ratio);
      if (this.#masks.size > 0) this.#drawHatching(ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.shape[1] > 0) this.#overlay(context, ratio);
    for (const tell of this.#whenDrawn.splice(0)) tell();
  }

  /** @param {CanvasRenderingContext2D} context @param {CanvasImageSource} image @param {number} ratio @param {number} [margin] */
  #place(context, image, ratio, margin = 0) {
    const [sy, sx] = this.#signs();
    const [x, y] = this.toScreen(0, 0);
    const scale = this.camera.scale * ratio;
    context.setTransform(sx * scale, 0, 0, sy * scale * this.aspect, x * ratio + margin, y * ratio + margin);
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0);
  }

  /** All hatching, which is slow to draw and therefore kept: where the map is moved it moves along. @param {number} ratio */
  #drawHatching(ratio) {
    const { width, height } = this.canvas;
    const [left, top] = this.toScreen(0, 0).map((value) => value * ratio);
    const kept = this.#hatching;
    const same = kept !== null && kept.scale === this.camera.scale && kept.ratio === ratio;
    const far = same ? Math.max(Math.abs(left - kept.left), Math.abs(top - kept.top)) : 0;
    if (!same || far > kept.margin) {
      // Some more all around, but not while it is zoomed: that is drawn anew each time.
      const margin = same ? Math.round(MARGIN * ratio) : 0;
      this.#hatching = { canvas: kept?.canvas ?? document.createElement("canvas"), scale: this.camera.scale, ratio, left, top, margin };
      const { canvas } = this.#hatching;
      Object.assign(canvas, { width: width + 2 * margin, height: height + 2 * margin });
      for (const [kind, mask] of this.#masks) this.#hatch(kind, mask, this.#hatching);
    }
    const drawn = /** @type {Hatching} */ (this.#hatching);
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.drawImage(drawn.canvas, Math.round(left - drawn.left) - drawn.margin, Math.round(top - drawn.top) - drawn.margin);
  }

  /** Lines over a mask, of one width on the screen whatever the zoom. @param {Hatch} kind @param {HTMLCanvasElement} mask @param {Hatching} hatching */
  #hatch(kind, mask, { canvas, ratio, left, top, margin }) {
    const { width, height } = canvas;
    const veil = this.#veil;
    if (veil.width !== width || veil.height !== height) Object.assign(veil, { width, height });
    const context = /** @type {CanvasRenderingContext2D} */ (veil.getContext("2d"));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, width, height);
    this.#place(context, mask, ratio, margin);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalCompositeOperation = "source-in";
    const pattern = context.createPattern(tile(kind, ratio), "repeat");
    // Bound to the map, so that lines stay where they are when this is drawn anew.
    pattern?.setTransform(new DOMMatrix([1, 0, 0, 1, Math.round(left + margin), Math.round(top + margin)]));
    context.fillStyle = pattern ?? "transparent";
    context.fillRect(0, 0, width, height);
    /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(veil, 0, 0);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} ratio */
  #overlay(context, ratio) {
    const style = getComputedStyle(this.canvas);
    const [ink, paper] = [style.getPropertyValue("--map-ink").trim(), style.getPropertyValue("--map-paper").trim()];
    if (this.#painted) this.outlines?.draw(context, this, ratio, [ink, paper]);
    const twice = (/** @type {() => void} */ path, /** @type {number[]} */ dash = []) => {
      // Two strokes, so that it is seen on any colour.
      for (const [colour, wide] of /** @type {[string, number][]} */ ([[paper, 4], [ink, 1.75]])) {
        context.strokeStyle = colour;
        context.lineWidth = wide;
        context.setLineDash(wide < 2 ? dash : []);
        context.beginPath();
        path();
        context.stroke();
      }
      context.setLineDash([]);
    };
    const polygon = this.draft ?? this.region;
    if (polygon && polygon.length > 1) {
      twice(() => {
        for (const [i, [column, row]] of polygon.entries()) context[i === 0 ? "moveTo" : "lineTo"](...this.toScreen(column, row));
        context.closePath();
      }, this.draft ? [5, 4] : []);
    }
    const box = (/** @type {Pixel} */ pixel, /** @type {number} */ least) => {
      const [x, y] = this.toScreen(pixel.column + 0.5, pixel.row + 0.5);
      const [w, t] = [Math.max(least, this.camera.scale), Math.max(least, this.camera.scale * this.aspect)];
      context.rect(x - w / 2, y - t / 2, w, t);
    };
    const cross = (/** @type {Pixel} */ pixel) => {
      const [x, y] = this.toScreen(pixel.column + 0.5, pixel.row + 0.5);
      const gap = Math.max(5, this.camera.scale / 2 + 2);
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + dx * gap, y + dy * gap);
        context.lineTo(x + dx * (gap + 9), y + dy * (gap + 9));
      }
    };
    const { pinned, cursor, shadow } = this;
    if (pinned) twice(() => { box(pinned, 7); cross(pinned); });
    if (shadow) twice(() => cross(shadow), [2, 2]);
    if (cursor) twice(() => box(cursor, 5));
    this.#scaleBar(context, ink, paper);
  }

  /** @param {CanvasRenderingContext2D} context @param {string} ink @param {string} paper */
  #scaleBar(context, ink, paper) {
    const { clientWidth: width, clientHeight: height } = this.host;
    const per = this.step[1] / this.camera.scale;
    const length = niceStep(Math.min(120, width / 5) * per);
    const long = length / per;
    const text = `${number(length, 2)} ${unitName(this.unit)}`;
    context.font = "600 13px system-ui, sans-serif";
    const wide = Math.max(long, context.measureText(text).width) + 16;
    const [x, y] = [12, height - 44];
    context.globalAlpha = 0.82;
    context.fillStyle = paper;
    context.beginPath();
    context.roundRect(x, y, wide, 32, 5);
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = ink;
    context.fillText(text, x + 8, y + 15);
    context.fillRect(x + 8, y + 21, long, 4);
  }
}

/** @param {HTMLCanvasElement} canvas @param {[number, number]} shape @param {Uint32Array} pixels */
function put(canvas, [ny, nx], pixels) {
  const bytes = new Uint8ClampedArray(/** @type {ArrayBuffer} */ (pixels.buffer), pixels.byteOffset, pixels.byteLength);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.putImageData(new ImageData(bytes, nx, ny), 0, 0);
}

/** @type {Map<string, HTMLCanvasElement>} */
const tiles = new Map();

/** One tile of a hatching: ambiguous is striped, unknown crossed, a mixture dotted. @param {Hatch} kind @param {number} ratio */
function tile(kind, ratio) {
  const key = `${kind} ${ratio}`;
  const known = tiles.get(key);
  if (known) return known;
  const size = Math.round(7 * ratio);
  const canvas = h("canvas", { width: size, height: size });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const line = (/** @type {boolean} */ up, /** @type {string} */ colour) => {
    context.strokeStyle = colour;
    context.lineWidth = 1.1 * ratio;
    for (const shift of [-size, 0, size]) {
      context.beginPath();
      context.moveTo(shift - 1, up ? size + 1 : -1);
      context.lineTo(shift + size + 1, up ? -1 : size + 1);
      context.stroke();
    }
  };
  if (kind === "mixture") {
    context.fillStyle = "rgba(255, 255, 255, 0.75)";
    context.beginPath();
    context.arc(size / 2, size / 2, 1.15 * ratio, 0, 7);
    context.fill();
  } else {
    line(true, kind === "unknown" ? "rgba(255, 255, 255, 0.7)" : "rgba(0, 0, 0, 0.34)");
    if (kind === "unknown") line(false, "rgba(255, 255, 255, 0.7)");
  }
  tiles.set(key, canvas);
  return canvas;
}
