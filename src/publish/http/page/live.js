// @ts-check
// The live view: the newest scan until somebody picks one.

import { fill, h, renew } from "./dom.js";
import { ScanView } from "./scan-view.js";
import { newest, on, scans, state } from "./store.js";

export class LiveView {
  /** @type {ScanView|null} */
  #view = null;
  #shown = "";
  /** @type {(() => void)[]} */
  #ends = [];

  /** @param {string} picked a scan, or empty: the newest */
  constructor(picked) {
    this.picked = picked;
    this.select = h("select", { class: "small", "aria-label": "Scan", test: "scan-select", on: { change: () => (location.hash = this.select.value === "" ? "#/live" : `#/live/${encodeURIComponent(this.select.value)}`) } });
    this.element = h("div", { class: "view", test: "live" });
    this.#ends.push(on("scans", () => this.#update()), on("connection", () => this.#update()));
    this.#update();
  }

  get scanView() {
    return this.#view;
  }

  get name() {
    return this.#shown;
  }

  close() {
    for (const end of this.#ends) end();
    this.#view?.close();
  }

  #update() {
    const scan = this.picked === "" ? newest() : (state.scans.get(this.picked) ?? null);
    const wanted = scan?.scan_id ?? "";
    renew(this.select, `${this.picked}\n${scans().map((one) => one.scan_id + one.state).join("\n")}`, () => [
      h("option", { value: "", text: "Newest scan, followed" }),
      ...scans().map((one) => h("option", { value: one.scan_id, text: `${one.scan_id} (${one.state})` })),
    ]);
    this.select.value = this.picked;
    if (wanted === "") {
      if (this.#view) return;
      document.body.dataset.generation = "0";
      delete document.body.dataset.scan;
      this.#empty();
      return;
    }
    if (wanted === this.#shown) return;
    // What was shown of another scan goes at once: it is never taken for this one.
    this.#view?.close();
    this.#shown = wanted;
    document.body.dataset.generation = "0";
    document.body.dataset.scan = wanted;
    delete document.body.dataset.shownMs;
    this.#view = new ScanView(`/api/v1/scans/${encodeURIComponent(wanted)}`, wanted, [this.select]);
    this.element.removeAttribute("data-key");
    fill(this.element, this.#view.element);
  }

  #empty() {
    const { connection } = state;
    const text = this.picked !== "" && state.scansKnown ? [`${this.picked} is not on the board`, "It may be in the archive: look in the history."]
      : state.scansKnown ? ["Waiting for a scan", "The map appears here with the first energies. Nothing needs to be done."]
      : connection.state === "lost" ? ["The daemon does not answer", "The scan appears here as soon as it does."]
      : ["Asking for scans …", ""];
    renew(this.element, text.join("\n"), () => [h("section", { class: "empty", test: "empty" }, h("div", { class: "grains", "aria-hidden": "true" }, h("i"), h("i"), h("i"), h("i")), h("h1", { text: text[0] }), h("p", { class: "quiet", text: text[1] }),
      state.scansKnown ? h("p", {}, h("a", { href: "#/history", text: "History" }), " · ", h("a", { href: "#/system", text: "System" })) : null)]);
  }
}
