// @ts-check
// The daemon's events, over fetch (EventSource cannot carry a token): parsed, watched for silence, and taken up again.

import { HttpError, request, takeClock, why } from "./api.js";

/** The daemon says something at least every 10 s; after this it counts as gone, ms. */
const SILENCE_MS = 25_000;
/** An answer has to begin within this, ms. */
const PATIENCE_MS = 10_000;
/** A page that was not looked at for so long gives its connection back, ms; and then looks for alerts so often. */
const HIDDEN_MS = 20_000;
const GLANCE_MS = 15_000;
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

/** Ends after `ms`, or when the page is looked at again. @param {number} ms @param {boolean} untilSeen */
function pauseFor(ms, untilSeen) {
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      done(undefined);
    };
    const seen = () => {
      if (!document.hidden) end();
    };
    const timer = setTimeout(end, ms);
    if (untilSeen) document.addEventListener("visibilitychange", seen);
  });
}

/**
 * Follows the events for as long as the page is open. A browser has six connections for all its windows on one daemon: a page that
 * nobody looks at gives its own back, and asks for alerts from time to time, so that its title and icon still say what there is.
 * @param {(event: string, data: any) => void} tell with `connected` before the first event of a connection
 * @param {(connection: Connection) => void} tellState
 */
export async function follow(tell, tellState) {
  let pause = FIRST_PAUSE_MS;
  let since = Date.now();
  tellState({ state: "connecting", since, why: "", again: null });
  for (let again = false; ; again = true) {
    const ended = await (document.hidden && again ? glance(tell) : listen(tell, () => {
      tell("connected", null);
      tellState({ state: "open", since: Date.now(), why: "", again: null });
      pause = FIRST_PAUSE_MS;
    }));
    if (ended === "") {
      if (document.hidden) tellState({ state: "open", since: Date.now(), why: "", again: null });
      if (document.hidden) await pauseFor(GLANCE_MS, true);
      continue;
    }
    if (!again || pause === FIRST_PAUSE_MS) since = Date.now();
    tellState({ state: "lost", since, why: ended, again: Date.now() + pause });
    await pauseFor(pause, true);
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  }
}

/** One look at a daemon whose events are not followed. @param {(event: string, data: any) => void} tell @returns {Promise<string>} why it failed */
async function glance(tell) {
  try {
    await request("/readyz", { anyStatus: true, signal: AbortSignal.timeout(PATIENCE_MS) });
    tell("alerts", null);
    tell("health", null);
    return "";
  } catch (error) {
    return why(error);
  }
}

/**
 * One connection, to its end.
 * @param {(event: string, data: any) => void} tell
 * @param {() => void} opened
 * @returns {Promise<string>} why it ended; empty where we gave it back
 */
async function listen(tell, opened) {
  let reason = "the daemon closed the connection";
  const abort = new AbortController();
  let [watch, sleep, asleep] = [0, 0, false];
  const heard = (/** @type {number} */ patience) => {
    clearTimeout(watch);
    watch = setTimeout(() => abort.abort(), patience);
  };
  const looked = () => {
    clearTimeout(sleep);
    if (!document.hidden) return;
    sleep = setTimeout(() => {
      asleep = true;
      abort.abort();
    }, HIDDEN_MS);
  };
  document.addEventListener("visibilitychange", looked);
  looked();
  try {
    heard(PATIENCE_MS);
    const response = await request("/api/v1/events", { signal: abort.signal, cache: "no-store" });
    heard(SILENCE_MS);
    takeClock(response);
    if (!response.body) throw new Error("the browser cannot read streams");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    opened();
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
    reason = asleep ? "" : abort.signal.aborted ? "nothing was heard from the daemon for a while" : error instanceof TypeError ? "the connection broke" : why(error);
    if (error instanceof HttpError && error.status === 401) reason = "the daemon wants a token";
  } finally {
    clearTimeout(watch);
    clearTimeout(sleep);
    document.removeEventListener("visibilitychange", looked);
  }
  return reason;
}

/** @param {string} data */
function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
