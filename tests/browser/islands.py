"""The islands: brushing them lights up the map, and a region of the map lights up points."""

import re

from screen import browser, facts, screen, until

told = facts()
base = "/api/v1/scans/islands"

with browser() as chromium, screen(chromium, told["base"]) as page:
    page.open()
    page.dataset(scan="islands", layer="phase", state="archived")
    view = page.json(f"{base}/view.json")
    latent = page.json(f"{base}/latent.json?limit=4000")
    points = len(latent["pixels"])
    assert points > 100 and len(latent["references"]) == len(view["phases"]), latent
    islands, canvas = page.test("islands"), page.test("islands-canvas")
    islands.scroll_into_view_if_needed()
    page.text("islands", "across:")
    plain = page.picture()

    # By its phase.
    phase = latent["phase"][0]
    title = view["phases"][phase]["title"]
    own = [pixel for pixel, of in zip(latent["pixels"], latent["phase"]) if of == phase]
    islands.get_by_role("button", name=title, exact=True).click()
    page.dataset(lit=len(own))
    page.text("islands", f"{len(own)} pixels lit up on the map")
    nx = view["shape"][1]
    others = [pixel for pixel, of in zip(latent["pixels"], latent["phase"]) if of != phase]
    status = page.page.evaluate("async (path) => [...new Uint8Array(await (await fetch(path)).arrayBuffer())]", f"{base}/layers/status.bin")
    sure = view["statuses"].index("classified")
    of_layer = page.page.evaluate("async (path) => [...new Uint8Array(await (await fetch(path)).arrayBuffer())]", f"{base}/layers/phase.bin")

    def shown(pixel):
        return page.colour(pixel // nx, pixel % nx, view)[:3]

    # Not where the scale bar is.
    lit = next(pixel for pixel in own if status[pixel] == sure and pixel // nx == 6)
    dark = next(pixel for pixel in others if status[pixel] == sure and pixel // nx == 6)
    page.see("that the map is painted anew", "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    assert shown(lit) == view["phases"][of_layer[lit]]["colour"], (lit, shown(lit), view["phases"][of_layer[lit]], "what is picked keeps its colour")
    assert shown(dark) != view["phases"][of_layer[dark]]["colour"], "the rest goes dim"
    page.test("islands-clear").click()
    page.see("nothing lit", "() => document.body.dataset.lit === undefined")

    # Around all of them, by hand.
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    corners = [(2, 2), (box["width"] - 2, 2), (box["width"] - 2, box["height"] - 2), (2, box["height"] - 2)]
    mouse = page.page.mouse
    mouse.move(box["x"] + corners[0][0], box["y"] + corners[0][1])
    mouse.down()
    for x, y in corners[1:]:
        mouse.move(box["x"] + x, box["y"] + y, steps=5)
    mouse.up()
    page.dataset(lit=points)
    # A click beside takes it back.
    canvas.click(position={"x": 4, "y": 4})
    page.see("nothing lit", "() => document.body.dataset.lit === undefined")

    # The other way round: a region of the map.
    page.test("tool-rectangle").click()
    mouse.move(*page.place(2, 1, view))
    mouse.down()
    mouse.move(*page.place(9, 8, view), steps=5)
    mouse.up()
    page.text("spectrum", "Region of")
    text = page.text("islands", "of the region")
    within = int(re.search(r"(\d+) points? of the region", text)[1])
    assert 0 < within < points, text
    lit = int(page.page.evaluate("() => document.body.dataset.lit"))
    assert within <= lit <= 8 * 9, lit
    page.page.keyboard.press("c")
    page.see("nothing lit", "() => document.body.dataset.lit === undefined")
    mouse.move(2, 2)
    page.see("the numbers gone", "() => document.querySelector('[data-test=\"map-reading\"]').textContent.startsWith('Point at')")
    until("the map as it was", lambda: page.picture() == plain, page.pause)
