"use strict";

// Shows the newest scan that has a map until somebody picks one; asks for news every two seconds.
let picked = null;
let shown = "";
let current;

const element = (id) => document.getElementById(id);
const base = (scan) => "/api/v1/scans/" + encodeURIComponent(scan.scan_id);

function cell(row, text, kind) {
  const td = row.insertCell();
  td.textContent = text;
  if (kind) td.className = kind;
  return td;
}

function phases(scan) {
  const share = (f) => f.title + " " + (100 * f.fraction).toFixed(1) + " %";
  return scan.fractions.filter((f) => f.fraction > 0).map(share).join(", ");
}

function stateOf(scan) {
  const words = [scan.state];
  if (scan.outcome && scan.outcome.status !== "complete") words.push(scan.outcome.status);
  if (scan.simulated) words.push("simulated");
  if (scan.gaps.length > 0) words.push(scan.gaps.length + " gaps");
  const offset = scan.energy_offset;
  if (offset && offset.trusted) {
    const sign = offset.offset_ev < 0 ? "" : "+";
    const done = offset.correction_ev === 0 ? "" : ", corrected";
    words.push("energy offset " + sign + offset.offset_ev.toFixed(3) + " ± " + offset.error_ev.toFixed(3) + " eV" + done);
  }
  const i0 = scan.i0;
  if (i0 && !i0.problem) {
    words.push("I0 from " + i0.source.replace("_", " "));
    const flawed = Object.entries(i0.flawed).map(([why, values]) => values + " " + why.replace("_", " "));
    if (flawed.length > 0) words.push("not usable: " + flawed.join(", "));
  }
  if (scan.drift) words.push("registration " + scan.drift.text);
  const advice = scan.advice ? [scan.advice.text] : [];
  return words.concat(scan.notes, advice).join(", ");
}

function showTable(scans, current) {
  const body = document.createElement("tbody");
  body.id = "scans";
  for (const scan of scans) {
    const row = body.insertRow();
    if (current && scan.scan_id === current.scan_id) row.className = "shown";
    const button = document.createElement("button");
    button.textContent = scan.scan_id;
    button.addEventListener("click", () => { picked = scan.scan_id; refresh(); });
    cell(row, "").append(button);
    cell(row, stateOf(scan));
    cell(row, scan.energies_done + " / " + scan.energies_total, "number");
    cell(row, phases(scan));
    cell(row, [scan.sample, scan.region].filter(Boolean).join(", "));
    cell(row, scan.started.replace("T", " ").slice(0, 19) + " UTC", "number");
  }
  element("scans").replaceWith(body);
}

function showMap(scan) {
  const key = scan ? scan.scan_id + "/" + scan.generation + "/" + scan.state : "";
  if (key === shown) return;
  shown = key;
  element("empty").hidden = Boolean(scan);
  element("map").hidden = !scan;
  element("links").replaceChildren();
  if (!scan) return;
  element("map").src = base(scan) + "/phase_map.png?v=" + encodeURIComponent(key);
  element("map").alt = "Phase map of " + scan.scan_id + ": " + (phases(scan) || "nothing classified yet");
  for (const name of ["phase_map.arrow", "phase_map.parquet", "phase_map.png", "spectra.arrow"]) {
    const link = document.createElement("a");
    link.href = base(scan) + "/" + name;
    link.textContent = name;
    element("links").append(link);
  }
}

// Displacement of the sample in y and x, energies in the order of the plan, with a bar for each error.
function showDrift(scan) {
  const curve = scan && scan.drift ? scan.drift.curve : [];
  element("drift").hidden = curve.length < 2;
  if (curve.length < 2) return;
  const [width, height, left, edge] = [480, 110, 36, 8];
  const ends = curve.flatMap((p) => [p.y - p.error_y, p.y + p.error_y, p.x - p.error_x, p.x + p.error_x]);
  const low = Math.min(-0.5, ...ends);
  const high = Math.max(0.5, ...ends);
  const last = Math.max(1, scan.energies_total - 1);
  const across = (p) => left + (width - left - edge) * p.energy_index / last;
  const up = (v) => edge + (height - 2 * edge) * (high - v) / (high - low);
  const name = "http://www.w3.org/2000/svg";
  const draw = (kind, values) => {
    const shape = document.createElementNS(name, kind);
    for (const [key, value] of Object.entries(values)) shape.setAttribute(key, value);
    return shape;
  };
  const shapes = [draw("line", { x1: left, x2: width - edge, y1: up(0), y2: up(0), class: "axis" })];
  for (const axis of ["y", "x"]) {
    const points = curve.map((p) => across(p).toFixed(1) + "," + up(p[axis]).toFixed(1)).join(" ");
    shapes.push(draw("polyline", { points, class: "drift-" + axis }));
    for (const p of curve) {
      const error = p["error_" + axis];
      shapes.push(draw("line", { x1: across(p), x2: across(p), y1: up(p[axis] - error), y2: up(p[axis] + error), class: "drift-" + axis }));
    }
  }
  for (const value of [low, high]) {
    const text = draw("text", { x: 2, y: Math.min(height - 2, up(value) + 4) });
    text.textContent = value.toFixed(1);
    shapes.push(text);
  }
  element("drift-curve").replaceChildren(...shapes);
  element("drift-text").textContent = "Drift in pixels, y solid, x dashed, by energy: " + scan.drift.text;
}

// What /readyz says is wrong; it answers 503 with the same list where values are at risk.
async function refreshTroubles() {
  const response = await fetch("/readyz");
  const answer = await response.json();
  const lines = answer.troubles.map((trouble) => {
    const line = document.createElement("p");
    line.textContent = (trouble.grave ? "Values are at risk. " : "") + trouble.part + ": " + trouble.what;
    return line;
  });
  const banner = element("troubles");
  // Written only when it is news, so that it is not read aloud every two seconds.
  if (banner.textContent !== lines.map((line) => line.textContent).join("")) banner.replaceChildren(...lines);
  banner.className = answer.troubles.some((trouble) => trouble.grave) ? "grave" : "";
  banner.hidden = lines.length === 0;
}

// Tells the daemon what the operator wishes. It refuses what another site's page sends; see docs/alerts.md.
async function wish(alert, what, more) {
  const by = element("by").value.trim();
  if (by === "") {
    element("alert-answer").textContent = "Say who you are first.";
    element("by").focus();
    return;
  }
  const headers = { "Content-Type": "application/json" };
  if (element("token").value !== "") headers.Authorization = "Bearer " + element("token").value;
  const url = "/api/v1/alerts/" + encodeURIComponent(alert.id) + "/" + what;
  try {
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify({ by, ...more }) });
    if (response.status === 401 || response.status === 403) element("token-label").hidden = false;
    const answer = await response.json();
    element("alert-answer").textContent = response.ok ? "" : answer.error;
    await refreshAlerts(current);
  } catch (error) {
    element("alert-answer").textContent = "The daemon does not answer (" + error.message + ").";
  }
}

function line(parent, kind, text) {
  if (text === "") return;
  const p = document.createElement("p");
  p.className = kind;
  p.textContent = text;
  parent.append(p);
}

const verdicts = { beam: "most likely the beam", chemistry: "most likely the chemistry", instrument: "most likely the instrument", undecided: "cause not decided" };

function alertItem(alert) {
  const item = document.createElement("li");
  const over = alert.state === "over";
  item.className = alert.level + (alert.acknowledged || alert.silenced || over ? " quiet" : "");
  const words = [alert.level.toUpperCase(), alert.scan_id, alert.of, verdicts[alert.verdict]];
  if (alert.test) words.unshift("TEST");
  if (alert.simulated && !alert.test) words.push("simulated");
  if (alert.acknowledged) words.push("acknowledged by " + alert.acknowledgement.by);
  if (alert.silenced) words.push("silenced by " + alert.silence.by + (alert.silence.until ? " until " + alert.silence.until.slice(0, 16).replace("T", " ") + " UTC" : ""));
  line(item, "head", words.join(" · "));
  line(item, "text", alert.text);
  line(item, "evidence", alert.evidence_for.length > 0 ? "For: " + alert.evidence_for.join("; ") : "");
  line(item, "evidence", alert.evidence_against.length > 0 ? "Against: " + alert.evidence_against.join("; ") : "");
  line(item, "advice", alert.advice);
  const button = (text, what, more) => {
    const button = document.createElement("button");
    button.textContent = text;
    button.addEventListener("click", () => wish(alert, what, more));
    item.append(button);
  };
  if (over) return item;
  if (!alert.acknowledged) button("Acknowledge", "acknowledge", {});
  if (!alert.silenced) button("Silence for an hour", "silence", { for_s: 3600 });
  return item;
}

// Alerts of the scan that is shown, those that are over too: what was lost stays lost; then open ones of other scans.
let alertsShown = "";
async function refreshAlerts(scan) {
  const ask = async (query) => {
    const response = await fetch("/api/v1/alerts?" + query);
    if (!response.ok) throw new Error("status " + response.status);
    return response.json();
  };
  const open = await ask("open=true");
  const own = scan ? await ask("scan=" + encodeURIComponent(scan.scan_id)) : [];
  const alerts = open.concat(own.filter((alert) => !open.some((other) => other.id === alert.id)));
  const here = (alert) => Number(Boolean(scan) && alert.scan_id === scan.scan_id);
  alerts.sort((a, b) => here(b) - here(a));
  element("alerts").hidden = alerts.length === 0;
  // Written only when it is news, so that it is not read aloud, and no button goes from under the pointer, every two seconds.
  const key = JSON.stringify(alerts.map((alert) => ({ ...alert, heard: "" })));
  if (key === alertsShown) return;
  alertsShown = key;
  const items = alerts.slice(0, 20).map(alertItem);
  if (alerts.length > 20) {
    const more = document.createElement("li");
    line(more, "head", "and " + (alerts.length - 20) + " more at /api/v1/alerts");
    items.push(more);
  }
  element("alert-list").replaceChildren(...items);
}

async function refresh() {
  try {
    const response = await fetch("/api/v1/scans");
    if (!response.ok) throw new Error("status " + response.status);
    const scans = await response.json();
    const withMap = scans.filter((scan) => scan.generation > 0);
    current = withMap.find((scan) => scan.scan_id === picked) || withMap[0];
    showTable(scans, current);
    showMap(current);
    showDrift(current);
    await refreshAlerts(current);
    await refreshTroubles();
    element("state").className = "";
    element("state").textContent = scans.length === 0 ? "Waiting for a scan." : scans.length + (scans.length === 1 ? " scan" : " scans");
  } catch (error) {
    element("state").className = "lost";
    element("state").textContent = "The daemon does not answer (" + error.message + "); what is shown may be old.";
  }
}

refresh();
setInterval(refresh, 2000);

// Where the browser keeps nothing, the name is typed each time.
element("by").value = localStorage.getItem("by") || "";
element("by").addEventListener("change", () => {
  element("alert-answer").textContent = "";
  localStorage.setItem("by", element("by").value.trim());
});
