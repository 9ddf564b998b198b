// @ts-check
// The daemon's events, over fetch (EventSource cannot carry a token): parsed, watched for silence, and taken up again.

import { HttpError, request, takeClock, why } from "./api.js";

/** The daemon says something at least every 10 s; after this it counts as gone, ms. */
const SILENCE_MS = 25_000;
/** An answer has to begin within this, ms. */
const PATIENCE_MS = 10_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

/** @typedef {{ state: "connecting"|"open"|"lost", since: number, why: string, again: number|null }} Connection */

/** Cuts a stream of text into events. */
export class EventParser {
  #rest = "";

  /**
   * @param {string} text
   * @returns {{ event: string, data: string }[]}
   */
  push(text) {
    const events = [];
    const blocks = (this.#rest + text).replaceAll("\r\n", "\n").split("\n\n");
    this.#rest = blocks.pop() ?? "";
    for (const block of blocks) {
      let event = "message";
      const data = [];
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) event = line.slice(6).trim();
        if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
      }
      if (data.length > 0) events.push({ event, data: data.join("\n") });
    }
    return events;
  }
}

/**
 * Follows the events for as long as the page is open.
 * @param {(event: string, data: any) => void} tell
 * @param {(connection: Connection) => void} tellState
 */
export async function follow(tell, tellState) {
  let pause = FIRST_PAUSE_MS;
  let since = Date.now();
  let first = true;
  for (;;) {
    let reason = "the daemon closed the connection";
    const abort = new AbortController();
    let watch = 0;
    const heard = (/** @type {number} */ patience) => {
      clearTimeout(watch);
      watch = setTimeout(() => abort.abort(), patience);
    };
    try {
      if (first) tellState({ state: "connecting", since, why: "", again: null });
      heard(PATIENCE_MS);
      const response = await request("/api/v1/events", { signal: abort.signal, cache: "no-store" });
      heard(SILENCE_MS);
      takeClock(response);
      if (!response.body) throw new Error("the browser cannot read streams");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      tellState({ state: "open", since: Date.now(), why: "", again: null });
      pause = FIRST_PAUSE_MS;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        heard(SILENCE_MS);
        for (const { event, data } of parser.push(value)) {
          if (event === "bye") reason = "the daemon shuts down";
          tell(event, parse(data));
        }
      }
    } catch (error) {
      reason = abort.signal.aborted ? "nothing was heard from the daemon for a while" : why(error);
      if (error instanceof HttpError && error.status === 401) reason = "the daemon wants a token";
    }
    clearTimeout(watch);
    if (first || pause === FIRST_PAUSE_MS) since = Date.now();
    first = false;
    tellState({ state: "lost", since, why: reason, again: Date.now() + pause });
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  }
}

/** @param {string} data */
function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
