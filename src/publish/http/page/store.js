// @ts-check
// What the page knows: scans, alerts, health, the connection; and who wants to hear of changes.

import { Latest, getJson, why } from "./api.js";
import { follow } from "./events.js";

/** @typedef {import("./types.js").Scan} Scan */
/** @typedef {import("./types.js").Alert} Alert */
/** @typedef {import("./types.js").Trouble} Trouble */
/** @typedef {"scans"|"map"|"findings"|"alerts"|"health"|"connection"|"archive"|"theme"} Topic */

export const state = {
  /** @type {Map<string, Scan>} */
  scans: new Map(),
  /** Whether the list of scans has come at all. */
  scansKnown: false,
  /** @type {Alert[]} */
  alerts: [],
  /** What the alerts could not be had for; empty where they could. */
  alertsProblem: "",
  /** @type {{ status: string, troubles: Trouble[] }} */
  health: { status: "", troubles: [] },
  /** @type {import("./events.js").Connection} */
  connection: { state: "connecting", since: Date.now(), why: "", again: null },
  /** Counts connections: after a new one, generations may count from lower again. */
  epoch: 0,
};

/** @type {Map<Topic, Set<(detail: any) => void>>} */
const listeners = new Map();

/**
 * @param {Topic} topic
 * @param {(detail: any) => void} listener
 * @returns {() => void} ends it
 */
export function on(topic, listener) {
  const set = listeners.get(topic) ?? new Set();
  listeners.set(topic, set);
  set.add(listener);
  return () => set.delete(listener);
}

/** @param {Topic} topic @param {any} [detail] */
export function emit(topic, detail) {
  for (const listener of listeners.get(topic) ?? []) listener(detail);
}

/** Scans, the latest first. */
export const scans = () => [...state.scans.values()].sort((a, b) => b.started.localeCompare(a.started));

/** The scan that is worth looking at when nobody has chosen: the newest that runs, else the newest with a map, else the newest. */
export function newest() {
  const all = scans();
  const runs = (/** @type {Scan} */ scan) => scan.state !== "ended" && scan.state !== "archived";
  return all.find((scan) => runs(scan) && scan.generation > 0) ?? all.find((scan) => scan.generation > 0) ?? all[0] ?? null;
}

/** Alerts that somebody should do something about. */
export const unattended = () => state.alerts.filter((alert) => alert.state === "raised" && !alert.acknowledged && !alert.silenced);

const scansLatest = new Latest();
const alertsLatest = new Latest();
const healthLatest = new Latest();

export function refreshScans() {
  scansLatest.ask(async (signal) => {
    try {
      /** @type {Scan[]} */
      const list = await getJson("/api/v1/scans", { signal });
      state.scans = new Map(list.map((scan) => [scan.scan_id, scan]));
      state.scansKnown = true;
      emit("scans");
    } catch (error) {
      console.warn("scans:", why(error));
    }
  });
}

export function refreshAlerts() {
  alertsLatest.ask(async (signal) => {
    try {
      state.alerts = await getJson("/api/v1/alerts", { signal });
      state.alertsProblem = "";
    } catch (error) {
      state.alertsProblem = why(error);
    }
    emit("alerts");
  });
}

// It answers 503 with the same list where values are at risk.
export function refreshHealth() {
  healthLatest.ask(async (signal) => {
    try {
      state.health = await getJson("/readyz", { anyStatus: true, signal });
      emit("health");
    } catch {
      // The connection says so.
    }
  });
}

/** Scans that are kept in mind, as many as the daemon keeps. */
const MOST_SCANS = 256;

/** @param {string} event @param {any} data */
function heard(event, data) {
  if (event === "connected") {
    state.epoch += 1;
    refreshScans();
    refreshAlerts();
    refreshHealth();
  }
  if (event === "scan" && data) {
    state.scans.set(data.scan_id, data);
    // The daemon's board forgets the oldest, too.
    const ended = [...state.scans.values()].filter((scan) => scan.state === "archived" || scan.state === "ended");
    ended.sort((a, b) => a.started.localeCompare(b.started));
    for (const scan of ended.slice(0, Math.max(0, state.scans.size - MOST_SCANS))) state.scans.delete(scan.scan_id);
    state.scansKnown = true;
    emit("scans");
  }
  if (event === "map" && data) emit("map", { ...data, at: performance.now() });
  if (event === "findings" && data) emit("findings", data);
  if (event === "alerts") refreshAlerts();
  if (event === "health") refreshHealth();
  if (event === "archive") emit("archive", data);
}

/** Follows the daemon from now on. */
export function start() {
  void follow(heard, (connection) => {
    state.connection = connection;
    emit("connection");
  });
  // Silences and lapses of alerts end without an event.
  setInterval(() => {
    if (state.connection.state === "open" && state.alerts.length > 0) refreshAlerts();
  }, 60_000);
}
