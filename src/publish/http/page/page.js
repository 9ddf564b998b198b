"use strict";

// Shows the newest scan that has a map until somebody picks one; asks for news every two seconds.
let picked = null;
let shown = "";

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

async function refresh() {
  try {
    const response = await fetch("/api/v1/scans");
    if (!response.ok) throw new Error("status " + response.status);
    const scans = await response.json();
    const withMap = scans.filter((scan) => scan.generation > 0);
    const current = withMap.find((scan) => scan.scan_id === picked) || withMap[0];
    showTable(scans, current);
    showMap(current);
    element("state").className = "";
    element("state").textContent = scans.length === 0 ? "Waiting for a scan." : scans.length + (scans.length === 1 ? " scan" : " scans");
  } catch (error) {
    element("state").className = "lost";
    element("state").textContent = "The daemon does not answer (" + error.message + "); what is shown may be old.";
  }
}

refresh();
setInterval(refresh, 2000);
