"""Draws the pictures of the documentation, from what the daemon maps of simulated scans. Run by scripts/screen-pictures.sh."""

import io
import os

from PIL import Image

from screen import beamline, browser, facts, screen

told = facts()
# The second monitor of a beamline.
SIZE = {"width": 1920, "height": 1080}


def keep(page, name):
    """As small as it goes without a change of colours."""
    page.page.mouse.move(2, 2)
    page.see("the numbers gone", "() => !document.querySelector('[data-test=\"map-reading\"] strong')")
    image = Image.open(io.BytesIO(page.page.screenshot())).convert("RGB")
    path = os.path.join(told["docs"], name)
    image.save(path, optimize=True)
    print(f"{path}: {os.path.getsize(path) / 1000:.0f} kB")


def decided(page, scan, which):
    """A pixel in the middle of a particle that is sure of its phase."""
    view = page.json(f"/api/v1/scans/{scan}/view.json")
    code = "async ([path, kind]) => [...new globalThis[kind](await (await fetch(path)).arrayBuffer())]"
    layer = lambda name, kind: page.page.evaluate(code, [f"/api/v1/scans/{scan}/layers/{name}.bin", kind])
    status, phase = layer("status", "Uint8Array"), layer("phase", "Uint8Array")
    sure, nx = view["statuses"].index("classified"), view["shape"][1]
    pixels = [i for i, (s, p) in enumerate(zip(status, phase)) if s == sure and p == which and all(phase[i + d] == which and status[i + d] == sure for d in (-2 * nx, -1, 1, 2 * nx) if 0 <= i + d < len(phase))]
    pixel = pixels[len(pixels) // 2]
    return view, pixel // nx, pixel % nx


def live(chromium):
    with screen(chromium, told["base"], **SIZE) as page:
        page.expected = ["404"]
        page.open()
        beamline("send config/scenarios/demo.toml field-1 25")
        page.dataset(scan="field-1", state="running")
        page.text("course", "energy 24 of")
        keep(page, "screen-live.png")
        beamline("archived field-1")
    with screen(chromium, told["base"], scheme="light", **SIZE) as page:
        page.open("#/live/field-1")
        page.dataset(scan="field-1", layer="phase")
        view, row, column = decided(page, "field-1", 2)
        page.page.mouse.click(*page.place(row, column, view))
        page.text("spectrum", "fit")
        page.page.evaluate("() => window.scrollTo(0, 0)")
        keep(page, "screen-spectrum.png")


def alarm(chromium):
    with screen(chromium, told["base"], **SIZE) as page:
        # There are no islands before the first energies.
        page.expected = ["404"]
        page.open()
        beamline("send damage burnt 8")
        page.dataset(scan="burnt")
        page.dataset(alarm="critical")
        page.text("course", "energy 27 of")
        page.text("islands", "across:")
        page.page.locator(".islands-phases button").nth(1).click()
        page.see("pixels lit", "() => document.body.dataset.lit > 0")
        keep(page, "screen-alarm.png")
        beamline("archived burnt")


def compare(chromium):
    beamline("send damage-none spared 60")
    beamline("archived spared")
    with screen(chromium, told["base"], scheme="light", **SIZE) as page:
        bases = {scan["scan_id"]: scan["base"].replace("/", "%2F") for scan in page.json("/api/v1/archive")["scans"]}
        page.open(f"#/compare/{bases['spared']}/{bases['burnt']}")
        page.see("the difference", "() => document.getElementById('main').innerText.includes('have another phase')")
        keep(page, "screen-compare.png")


with browser() as chromium:
    live(chromium)
    alarm(chromium)
    compare(chromium)
