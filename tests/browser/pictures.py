"""Draws the pictures of the documentation, from what the daemon maps of simulated scans. Run by scripts/screen-pictures.sh."""

import io
import os

from PIL import Image

from screen import beamline, browser, facts, screen

told = facts()
# The second monitor of a beamline.
SIZE = {"width": 1920, "height": 1080}


def keep(page, name):
    """What is on the screen, without the numbers under a pointer."""
    page.page.mouse.move(2, 2)
    page.see("the numbers gone", "() => !document.querySelector('[data-test=\"map-reading\"] strong')")
    put(page.page.screenshot(), name)


def put(png, name):
    """Of 256 colours, which a picture of the screen seldom needs more than, and as small as that goes."""
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    path = os.path.join(told["docs"], name)
    image.save(path, optimize=True)
    assert os.path.getsize(path) < 200_000, name
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
    with screen(chromium, told["base"], particles=True, **SIZE) as page:
        page.expected = ["404"]
        page.open()
        beamline("send config/scenarios/demo.toml field-1 25")
        page.dataset(scan="field-1", state="running")
        page.text("course", "energy 24 of")
        keep(page, "screen-live.png")
        beamline("archived field-1")
    with screen(chromium, told["base"], scheme="light", particles=True, **SIZE) as page:
        page.open("#/live/field-1")
        page.dataset(scan="field-1", layer="phase")
        view, row, column = decided(page, "field-1", 2)
        page.page.mouse.click(*page.place(row, column, view))
        page.text("spectrum", "fit")
        page.page.evaluate("() => window.scrollTo(0, 0)")
        keep(page, "screen-spectrum.png")


def particles(chromium):
    with screen(chromium, told["base"], particles=True, **SIZE) as page:
        page.open("#/live/field-1")
        page.dataset(scan="field-1", layer="phase")
        page.see("particles", "() => document.body.dataset.particles > 3")
        page.page.locator('[data-test="particles-table"] tbody tr').nth(2).click()
        page.page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0); }")
        keep(page, "screen-particles.png")


def report(chromium):
    beamline("send config/scenarios/demo.toml field-2 60")
    beamline("archived field-2")
    path = beamline("report field-1,field-2")
    context = chromium.new_context(viewport={"width": 1120, "height": 1500}, color_scheme="light")
    page = context.new_page()
    page.goto(f"file://{path}")
    put(page.screenshot(), "report.png")
    context.close()


def alarm(chromium):
    # Tall enough for the bar across the top and the islands.
    with screen(chromium, told["base"], particles=True, width=1920, height=1400) as page:
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
        page.page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0); }")
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
    particles(chromium)
    report(chromium)
    alarm(chromium)
    compare(chromium)
