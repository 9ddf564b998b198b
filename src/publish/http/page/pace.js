// @ts-check
// How long a scan still takes, from how it went so far.

/** Points that are kept. */
const MOST = 400;
/** The pace is that of the last part of the course, at least this many values' worth. */
const LAST_SHARE = 0.25;

export class Pace {
  /** @type {{ time: number, values: number }[]} */
  #points = [];

  /** @param {number} time ms @param {number} values measured by then */
  push(time, values) {
    const last = this.#points[this.#points.length - 1];
    if (last && values < last.values) this.#points = [];
    if (last && (time <= last.time || values === last.values)) return;
    this.#points.push({ time, values });
    if (this.#points.length > MOST) this.#points = this.#points.filter((_, i) => i % 2 === 0);
  }

  /** Takes over a course that is known from elsewhere, where it says more. @param {{ time: number, values: number }[]} points */
  take(points) {
    if (points.length <= this.#points.length) return;
    const later = this.#points;
    this.#points = [];
    for (const point of [...points, ...later]) this.push(point.time, point.values);
  }

  /** Seconds until `planned` values are measured; null where that cannot be told. @param {number} planned @param {number} started ms */
  secondsLeft(planned, started) {
    const last = this.#points[this.#points.length - 1];
    if (!last || last.values >= planned) return null;
    const back = last.values - Math.max(LAST_SHARE * last.values, 1);
    const from = this.#points.findLast((point) => point.values <= back) ?? (this.#points.length > 2 ? this.#points[0] : { time: started, values: 0 });
    const rate = (last.values - from.values) / (last.time - from.time);
    return rate > 0 && Number.isFinite(rate) ? (planned - last.values) / rate / 1000 : null;
  }
}
