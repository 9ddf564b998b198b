// @ts-check
// Requests to the daemon: the token, errors in words, what generation an answer is of, and no pile of requests.
//
// Everything goes through fetch, pictures and downloads too, since only fetch can carry the token. The browser's own cache
// asks again with the ETag, so what has not changed costs the daemon a 304.

/** What takes longer is given up, ms: an answer that never comes must not stand in the way of the next. */
const PATIENCE_MS = 20_000;

/** What the daemon says of its clock, ms ahead of ours; times that came from it are compared with `now()`. */
let skewMs = 0;
/** @type {string} */
let token = "";
/** @type {(() => Promise<boolean>)|null} */
let askForToken = null;
/** @type {Promise<boolean>|null} */
let asking = null;

/** An answer that is no success. */
export class HttpError extends Error {
  /** @param {number} status @param {string} what */
  constructor(status, what) {
    super(what);
    this.name = "HttpError";
    this.status = status;
  }
}

/**
 * Takes the daemon's clock from an answer that came just now. Its header has whole seconds; less than that is no difference.
 * @param {Response} response
 */
export function takeClock(response) {
  const seen = Date.parse(response.headers.get("Date") ?? "") + 500 - Date.now();
  if (!Number.isNaN(seen)) skewMs = Math.abs(seen) > 3000 ? seen : 0;
}

/** The daemon's time now, ms. */
export const now = () => Date.now() + skewMs;

/** A part of an address; as it is where it is not encoded as it should be. @param {string} text */
export function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Takes a token from the address (`#token=...`), and out of it, or what was kept.
 */
export function takeToken() {
  const match = /(?:^#|&)token=([^&]*)/.exec(location.hash);
  if (match) {
    token = decoded(match[1]);
    store(sessionStorage, token);
    const rest = location.hash.replace(/(^#|&)token=[^&]*/, "$1").replace(/^#&?/, "#");
    history.replaceState(null, "", location.pathname + location.search + (rest === "#" ? "" : rest));
    return;
  }
  try {
    token = sessionStorage.getItem("token") ?? localStorage.getItem("token") ?? "";
  } catch {
    token = "";
  }
}

/** @param {Storage} place @param {string} value */
function store(place, value) {
  try {
    place.setItem("token", value);
  } catch {
    // It holds until the page is loaded again.
  }
}

/**
 * @param {string} value
 * @param {boolean} remember
 */
export function setToken(value, remember) {
  token = value;
  store(sessionStorage, value);
  if (remember) store(localStorage, value);
}

/** @param {() => Promise<boolean>} ask answers whether there is a new token */
export function whenRefused(ask) {
  askForToken = ask;
}

/** Whoever closed the dialog is not asked again and again, only when they do something. */
let declined = false;

/** One dialog, however many requests were refused. */
export function newToken(insist = false) {
  if (!askForToken || (declined && !insist)) return Promise.resolve(false);
  asking ??= askForToken()
    .then((given) => {
      declined = !given;
      return given;
    })
    .finally(() => (asking = null));
  return asking;
}

/**
 * @param {string} path
 * @param {RequestInit & { anyStatus?: boolean }} [options]
 * @returns {Promise<Response>}
 */
export async function request(path, options = {}) {
  for (;;) {
    const used = token;
    const headers = new Headers(options.headers);
    if (used !== "") headers.set("Authorization", `Bearer ${used}`);
    const response = await fetch(path, { cache: "no-cache", ...options, headers }).catch(unreachable);
    // None was given, or a wrong one; other refusals are not mended by a token.
    const wanted = response.status === 401 || (response.status === 403 && used !== "" && (await reason(response.clone())).includes("token"));
    if (wanted && (token !== used || (await newToken(options.method === "POST")))) continue;
    if (!response.ok && !options.anyStatus) throw new HttpError(response.status, await reason(response));
    return response;
  }
}

/** @param {Response} response */
async function reason(response) {
  const text = await response.text().catch(() => "");
  try {
    return JSON.parse(text).error || `status ${response.status}`;
  } catch {
    return `status ${response.status}`;
  }
}

/**
 * @template T
 * @param {string} path
 * @param {RequestInit & { anyStatus?: boolean }} [options]
 * @returns {Promise<T>}
 */
export async function getJson(path, options) {
  return (await request(path, options)).json();
}

/**
 * The generation and the revision that an answer is of; null where the daemon does not say. An ETag begins with the revision.
 * @param {Response} response
 */
export function origin(response) {
  const generation = response.headers.get("X-Phasewatch-Generation");
  return { generation: generation === null ? null : Number(generation), revision: response.headers.get("X-Phasewatch-Revision"), etag: response.headers.get("ETag") };
}

/**
 * Whether an answer is of this generation and revision, as far as it says.
 * @param {ReturnType<typeof origin>} from
 * @param {number} generation
 * @param {string} revision
 */
export function isOf(from, generation, revision) {
  if (from.generation !== null && from.generation !== generation) return false;
  if (from.revision !== null) return from.revision === revision;
  return from.etag === null || from.etag.replace(/^W\//, "").startsWith(`"${revision}-`);
}

/**
 * @template T
 * @param {string} path
 * @param {unknown} body
 * @returns {Promise<T>}
 */
export async function post(path, body) {
  const response = await request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const text = await response.text();
  return JSON.parse(text === "" ? "null" : text);
}

/**
 * Saves what the daemon answers as a file.
 * @param {string} path
 * @param {string} name
 */
export async function download(path, name) {
  const response = await request(path);
  const url = URL.createObjectURL(await response.blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** What fetch says when nobody answers differs from browser to browser. @param {unknown} error @returns {never} */
function unreachable(error) {
  throw error instanceof TypeError ? new Error("the daemon does not answer", { cause: error }) : error;
}

/** Why a request failed, for a person. @param {unknown} error */
export function why(error) {
  return error instanceof Error ? error.message : String(error);
}

/** Whether the answer is not wanted any more, which is no failure. @param {AbortSignal} signal */
export const isWithdrawn = (signal) => signal.aborted && signal.reason?.name !== "TimeoutError";

/**
 * One request at a time for one thing. What is wished for meanwhile waits, and gives way to a later wish; so requests never
 * pile up, and the last wish is always done.
 */
export class Latest {
  #busy = false;
  /** @type {(() => Promise<void>)|null} */
  #next = null;
  /** @type {AbortController|null} */
  #abort = null;

  /** @param {(signal: AbortSignal) => Promise<void>} job handles its own errors */
  ask(job) {
    this.#next = () => {
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort(new DOMException("no answer came within 20 s", "TimeoutError")), PATIENCE_MS);
      this.#abort = abort;
      return job(abort.signal).finally(() => clearTimeout(timer));
    };
    if (!this.#busy) void this.#run();
  }

  /** The same, for what is of no use any more once something else is wanted. @param {(signal: AbortSignal) => Promise<void>} job */
  instead(job) {
    this.#abort?.abort();
    this.ask(job);
  }

  /** Forgets all wishes. */
  stop() {
    this.#next = null;
    this.#abort?.abort();
  }

  async #run() {
    this.#busy = true;
    while (this.#next) {
      const job = this.#next;
      this.#next = null;
      try {
        await job();
      } catch (error) {
        if (!(error instanceof DOMException && error.name === "AbortError")) console.error(error);
      }
    }
    this.#busy = false;
  }
}
