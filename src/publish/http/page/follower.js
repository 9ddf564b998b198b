// @ts-check
// Keeps a panel up to date: only while it is in sight, only when there is something new, and not too often.

import { HttpError, Latest, isWithdrawn } from "./api.js";
import { watchSight } from "./dom.js";

export class Follower {
  #latest = new Latest();
  #seen = false;
  #wanted = "";
  #had = "";
  #timer = 0;
  /** @type {(() => void)[]} */
  #ends = [];

  /**
   * @param {Element} element
   * @param {number} pauseMs at least between two fetches
   * @param {(signal: AbortSignal) => Promise<void>} fetchAndShow
   * @param {(error: unknown) => void} failed what is not there (404) is not asked for again before there is something new
   */
  constructor(element, pauseMs, fetchAndShow, failed) {
    this.pauseMs = pauseMs;
    this.fetchAndShow = fetchAndShow;
    this.failed = failed;
    const woken = () => this.#go();
    document.addEventListener("visibilitychange", woken);
    this.#ends.push(
      () => document.removeEventListener("visibilitychange", woken),
      watchSight(element, (seen) => {
        this.#seen = seen;
        this.#go();
      }),
    );
  }

  /** @param {string} revision */
  renewed(revision) {
    this.#wanted = revision;
    this.#go();
  }

  close() {
    for (const end of this.#ends) end();
    clearTimeout(this.#timer);
    this.#latest.stop();
    this.#wanted = this.#had = "";
  }

  #go() {
    if (!this.#seen || document.hidden || this.#wanted === this.#had || this.#timer !== 0) return;
    this.#had = this.#wanted;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#go();
    }, this.pauseMs);
    this.#latest.ask(async (signal) => {
      try {
        await this.fetchAndShow(signal);
      } catch (error) {
        if (isWithdrawn(signal)) return;
        this.failed(error);
        if (!(error instanceof HttpError && (error.status === 404 || error.status === 410))) this.#had = "";
      }
    });
  }
}
