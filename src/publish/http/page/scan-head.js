// @ts-check
// The head of a scan: what it is, how far it has come, what is missing, and what could be done next.

import { now } from "./api.js";
import { fill, h, renew, rgb } from "./dom.js";
import { clock, count, duration, moment, number, percent, whole, words } from "./format.js";

/** @typedef {import("./types.js").Scan} Scan */
/** @typedef {import("./pace.js").Pace} Pace */

/** Without a new value for so long, or four times as long as an energy takes, a running scan is said to stand still, s. */
const STILL_S = 60;

/** What is missing of a scan, in words. @param {Scan} scan */
export function missing(scan) {
  const list = [];
  const lost = scan.gaps.reduce((sum, gap) => sum + (gap.last - gap.first + 1), 0);
  if (lost > 0) list.push(`${count(lost, "message")} did not come (${count(scan.gaps.length, "gap")})`);
  for (const [why, many] of Object.entries(scan.i0?.flawed ?? {})) list.push(`${count(many, "value")} not usable: ${words(why)}`);
  for (const [why, many] of Object.entries(scan.i0?.flawed_lines ?? {})) list.push(`${count(many, "line")} not usable: ${words(why)}`);
  if (scan.i0?.problem) list.push(scan.i0.problem);
  const unmeasured = scan.status_counts.unmeasured ?? 0;
  if (unmeasured > 0) list.push(`${count(unmeasured, "pixel")} without a value`);
  return list;
}

/** @param {Scan} scan */
export const isLive = (scan) => scan.state !== "ended" && scan.state !== "archived";

/** How long nothing came, where that is too long; s, else 0. @param {Scan} scan @param {number|null} perEnergy s */
export function standsStill(scan, perEnergy) {
  if (scan.state !== "running" && scan.state !== "started") return 0;
  const since = (now() - Date.parse(scan.last_update)) / 1000;
  return since > Math.max(STILL_S, 4 * (perEnergy ?? 0)) ? since : 0;
}

/** The state of a scan in a few words. @param {Scan} scan */
export function stateOf(scan) {
  if (scan.outcome && scan.outcome.status !== "complete") return `${scan.state}, ${words(scan.outcome.status)}`;
  return scan.state;
}

export class ScanHead {
  /** @param {Node[]} actions */
  constructor(actions) {
    this.title = h("h1", { test: "scan-title" });
    this.badges = h("div", { class: "badges", test: "badges" });
    this.place = h("p", { class: "quiet place" });
    this.bar = h("div", { class: "progress-fill" });
    this.progress = h("div", { class: "progress", role: "progressbar", "aria-label": "Energies measured", "aria-valuemin": "0", test: "progress" }, this.bar);
    this.course = h("p", { class: "course", test: "course" });
    this.missing = h("p", { class: "missing", test: "missing" });
    this.element = h("section", { class: "scan-head", "aria-label": "Scan" },
      h("div", { class: "scan-name" }, h("div", { class: "title-row" }, this.title, this.badges), this.place),
      h("div", { class: "scan-course" }, this.progress, this.course, this.missing), h("div", { class: "actions" }, ...actions));
  }

  /**
   * @param {Scan} scan
   * @param {Pace} pace
   * @param {boolean} lost whether the daemon is out of reach
   * @param {number} shown the generation that is on the screen, which may not be the latest yet
   */
  show(scan, pace, lost, shown) {
    const live = isLive(scan);
    const left = live ? pace.secondsLeft(scan.planned_values, Date.parse(scan.started)) : null;
    const still = standsStill(scan, left === null ? null : left / Math.max(1, scan.energies_total - scan.energies_done));
    this.title.textContent = scan.scan_id;
    this.place.textContent = [scan.sample, scan.region, scan.beamline, `started ${moment(scan.started)}`].filter(Boolean).join(" · ");
    const badge = (/** @type {string} */ kind, /** @type {string} */ text) => h("span", { class: `badge ${kind}`, text });
    const known = lost && live;
    renew(this.badges, `${scan.state} ${stateOf(scan)} ${scan.simulated} ${still > 0} ${known}`, () => [
      known ? badge("warn", "as last known") : badge(still > 0 ? "warn" : `state-${scan.state}`, still > 0 ? "no new values" : live && scan.state !== "paused" ? "live" : stateOf(scan)),
      scan.simulated && badge("simulated", "simulated, not measured"),
    ]);
    const share = scan.planned_values > 0 ? scan.measured_values / scan.planned_values : 0;
    this.bar.style.transform = `scaleX(${Math.min(1, share)})`;
    this.progress.setAttribute("aria-valuemax", String(scan.energies_total));
    this.progress.setAttribute("aria-valuenow", String(scan.energies_done));
    const words = [`energy ${scan.energies_done} of ${scan.energies_total}`, percent(share, 0)];
    if (known) words.push(`as of ${clock(scan.last_update)}`);
    else if (still > 0) words.push(`no new value for ${duration(still)}`);
    else if (left !== null && scan.state === "running") words.push(`${duration(left)} left, until ${clock(now() + 1000 * left).slice(0, 5)}`);
    else if (!live) words.push(stateOf(scan), `last value ${moment(scan.last_update)}`);
    if (scan.generation > 0) words.push(shown < scan.generation ? `map ${shown} shown of ${scan.generation}` : `map ${shown}`);
    this.course.textContent = words.join(" · ");
    this.course.classList.toggle("warn", still > 0);
    const gone = missing(scan);
    const told = [gone.length > 0 ? `Missing: ${gone.join("; ")}` : "", scan.notes.length > 0 ? `Note: ${scan.notes.join("; ")}` : ""].filter(Boolean);
    this.missing.textContent = told.join(". ");
    this.missing.hidden = told.length === 0;
  }

  /** A scan that is not on the board: what its view and the archive say. @param {import("./types.js").View} view @param {import("./types.js").Archived|null} archived */
  showView(view, archived) {
    this.title.textContent = view.scan_id;
    const tags = archived ? archiveTags(archived) : [];
    if (archived) this.place.textContent = [archived.sample, archived.region, archived.beamline, `started ${moment(archived.started)}`].filter(Boolean).join(" · ");
    renew(this.badges, `${view.simulated} ${tags.join()}`, () => [h("span", { class: "badge", text: "archived" }), ...tags.map((tag) => h("span", { class: `badge ${tag === "quarantined" ? "warn" : ""}`, text: tag })), view.simulated && h("span", { class: "badge simulated", text: "simulated, not measured" })]);
    const whole = view.energies.filter((energy) => energy.coverage >= 0.999).length;
    const share = view.energies.reduce((sum, energy) => sum + energy.coverage, 0) / Math.max(1, view.energies.length);
    this.bar.style.transform = `scaleX(${share})`;
    this.progress.setAttribute("aria-valuemax", String(view.energies.length));
    this.progress.setAttribute("aria-valuenow", String(whole));
    this.course.textContent = `${whole} of ${view.energies.length} energies whole · ${percent(share, 0)} of the plan · ${view.shape[1]} × ${view.shape[0]} pixels`;
    this.missing.hidden = true;
  }
}

/** What is special about an archived scan. @param {import("./types.js").Archived} scan */
export function archiveTags(scan) {
  return [scan.provisional && "provisional", scan.quarantined && "quarantined", scan.pruned && "pruned: map only", scan.outcome !== "complete" && words(scan.outcome ?? "")].filter((tag) => typeof tag === "string" && tag !== "").map(String);
}

/** Live advice, in the order in which it is acted on. */
export class AdvicePanel {
  constructor() {
    this.body = h("div", {});
    this.element = h("section", { class: "card advice", "aria-label": "Advice", test: "advice", hidden: true }, h("header", {}, h("h2", { text: "Advice" })), this.body);
  }

  /** @param {Scan} scan */
  show(scan) {
    const advice = isLive(scan) ? scan.advice : undefined;
    this.element.hidden = !advice;
    if (!advice) return;
    this.element.classList.toggle("stop", advice.stop.stop);
    renew(this.body, JSON.stringify([advice.text, advice.stop, advice.next, advice.caution]), () => [
      advice.stop.stop ? h("p", { class: "big" }, h("strong", { text: "You can stop. " }), advice.stop.text) : null,
      advice.next.length > 0 && !advice.stop.stop ? h("p", { class: "big" }, "Next best: ", h("strong", { class: "value", text: `${advice.next[0].energy_ev.toFixed(2)} eV` })) : null,
      ...(advice.stop.stop ? [] : advice.next.slice(0, 1).map((one) => h("p", { class: "quiet", text: one.text.replace(/^[\d.]+ eV: /, "") }))),
      advice.next.length > 1 && !advice.stop.stop ? h("p", { class: "quiet", text: `then ${advice.next.slice(1).map((one) => `${one.energy_ev.toFixed(2)} eV`).join(", ")}` }) : null,
      advice.stop.stop ? null : h("p", { class: "quiet", text: advice.stop.text }),
      advice.caution ? h("p", { class: "caution", text: advice.caution }) : null,
    ]);
  }
}

/** The legend, with the share of each phase. */
export class FractionsPanel {
  constructor() {
    this.list = h("ul", { class: "bars fractions", test: "fractions" });
    this.facts = h("dl", { class: "pairs" });
    this.element = h("section", { class: "card", "aria-label": "Phases" }, h("header", {}, h("h2", { text: "Phases" })), this.list, this.facts);
    /** @type {Map<string, { bar: HTMLElement, value: HTMLElement, item: HTMLElement }>} */
    this.rows = new Map();
  }

  /**
   * @param {import("./types.js").Fraction[]} fractions
   * @param {Record<string, number>} counts
   * @param {[string, string][]} facts
   */
  show(fractions, counts, facts) {
    renew(this.list, fractions.map((one) => one.phase).join("\n"), () => {
      this.rows.clear();
      if (fractions.length === 0) return [h("li", { class: "quiet", text: "Nothing is classified yet." })];
      return fractions.map((one) => {
        const [bar, value] = [h("span", { class: "bar-fill" }), h("span", { class: "value" })];
        bar.style.backgroundColor = rgb(one.colour);
        const item = h("li", {}, h("span", { class: "name" }, one.title), h("span", { class: "bar-track" }, bar), value);
        this.rows.set(one.phase, { bar, value, item });
        return item;
      });
    });
    for (const one of fractions) {
      const row = this.rows.get(one.phase);
      if (!row) continue;
      row.bar.style.width = `${100 * one.fraction}%`;
      row.value.textContent = percent(one.fraction);
    }
    const all = Object.entries(counts).reduce((sum, [name, many]) => sum + (name === "unmeasured" || name === "background" ? 0 : many), 0);
    const open = /** @type {[string, string][]} */ (["mixture", "ambiguous", "unknown", "saturated"].flatMap((name) => (counts[name] ? [[name, `${percent(counts[name] / all)} (${whole(counts[name])})`]] : [])));
    fill(this.facts, ...[...open, ...facts].flatMap(([name, value]) => [h("dt", { text: name }), h("dd", { text: value })]));
  }

  /** @param {Scan} scan */
  showScan(scan) {
    const offset = scan.energy_offset;
    /** @type {[string, string][]} */
    const facts = [];
    if (scan.dose) facts.push(["dose, mean", `${number(scan.dose.total.mean, 3)} ${scan.dose.unit}`]);
    if (offset && offset.offset_ev !== null) facts.push(["energy offset", `${number(offset.offset_ev, 2)} ± ${number(offset.error_ev, 1)} eV${offset.correction_ev !== 0 ? ", corrected" : ""}${offset.trusted ? "" : ", not trusted"}`]);
    if (scan.drift) facts.push(["registration", scan.drift.text]);
    this.show(scan.fractions, scan.status_counts, facts);
  }
}
