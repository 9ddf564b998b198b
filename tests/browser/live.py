"""The live view: a map that grows, its layers, what hands and keys do to it, and the archive at the end."""

from screen import beamline, browser, facts, screen, until

told = facts()
scan, energies = told["scan"], told["energies"]
base = f"/api/v1/scans/{scan}"


def grown(page):
    """The map as it is now, which is all that the daemon has."""
    page.see("the latest map", """async (base) => {
        const view = await (await fetch(`${base}/view.json`)).json();
        return view.generation > 0 && document.body.dataset.generation === String(view.generation);
    }""", base)
    return page.json(f"{base}/view.json")


def pixels(page, name, kind):
    """A layer, as the page's own fetch gets it."""
    code = "async ([path, kind]) => [...new globalThis[kind](await (await fetch(path)).arrayBuffer())]"
    return page.page.evaluate(code, [f"{base}/layers/{name}.bin", kind])


def growing(page):
    page.open()
    page.text("empty", "Waiting for a scan")
    page.dataset(connection="open", alarm="calm", view="live")
    beamline("start")
    page.dataset(scan=scan, state="running")
    page.text("course", f"of {energies}")
    page.text("badges", "simulated, not measured")
    view = grown(page)
    assert view["simulated"]
    first = page.picture()
    # Two lines were measured: there is something of them, and nothing of the third.
    seen = pixels(page, "energies_seen", "Uint16Array")
    nx = view["shape"][1]
    assert any(seen[:2 * nx]) and not any(seen[2 * nx:]), seen
    assert page.colour(11, 4, view)[3] == 0, "nothing is painted where nothing was measured"
    beamline("rest of the first energy")
    page.text("course", "energy 1 of")
    until("a map that grows line by line", lambda: page.picture() != first, page.pause)
    beamline("half")
    page.text("course", f"energy {energies // 2} of")
    page.text("course", "50 %")
    page.see("what is measured in the strip", "(n) => document.querySelectorAll('.strip-cells .whole').length === n", energies // 2)
    half = page.picture()
    beamline("rest")
    page.dataset(state="archived")
    page.text("badges", "archived")
    page.text("course", "100 %")
    view = grown(page)
    assert page.picture() != half, "the map grows energy by energy"
    return view


def colours(page, view):
    """Each column of the specimen is of one reference, and has its colour."""
    phase, status = pixels(page, "phase", "Uint8Array"), pixels(page, "status", "Uint8Array")
    classified = view["statuses"].index("classified")
    nx, seen = view["shape"][1], set()
    for column in range(1, nx):
        pixel = 6 * nx + column
        if status[pixel] == classified:
            wanted = view["phases"][phase[pixel]]["colour"]
            assert page.colour(6, column, view) == [*wanted, 255], (column, wanted, page.colour(6, column, view))
            seen.add(phase[pixel])
    assert len(seen) == len(view["phases"]), "every phase is somewhere"


def layers(page, view):
    # The densities are not at hand while the scan is put into the archive.
    page.see("the densities", "() => document.querySelector('[data-test=\"layers\"] [data-layer=\"od\"]') !== null")
    view = page.json(f"{base}/view.json")
    names = [layer["name"] for layer in view["layers"]]
    shown = page.page.locator('[data-test="layers"] button').evaluate_all("all => all.map((one) => one.dataset.layer)")
    for wanted in ["phase", "confidence", "margin", "correlation", "status", "ambiguity", "unknown", "od", "energies_seen"]:
        assert wanted in shown, (wanted, shown)
        assert wanted == "unknown" or wanted in names, wanted
    pictures = set()
    for name in ["confidence", "margin", "correlation", "ambiguity", "energies_seen", "status", "phase"]:
        page.page.click(f'[data-test="layers"] [data-layer="{name}"]')
        page.dataset(layer=name)
        pictures.add(page.picture())
    assert len(pictures) > 4, "layers look different"
    page.page.locator('[data-test="layers"] select').select_option("edge_jump")
    page.dataset(layer="edge_jump")
    page.text("colour-key", "edge jump")
    # The slider of energies shows the optical density at each.
    slider = page.test("energy-slider")
    before = set()
    for index in [1, 6]:
        slider.fill(str(index))
        page.dataset(layer="od")
        page.text("colour-key", f"at {round(view['energies'][index]['energy_ev'], 1):g}")
        before.add(page.picture())
    assert len(before) == 2, "each energy has an image of its own"
    od = page.page.evaluate("async (path) => [...new Float32Array(await (await fetch(path)).arrayBuffer())]", f"{base}/layers/od.bin?energy=6")
    x, y = page.place(3, 4, view)
    page.page.mouse.move(x, y)
    page.text("map-reading", f"{od[3 * view['shape'][1] + 4]:.3g}"[:4])
    page.page.click('[data-test="layers"] [data-layer="phase"]')
    page.dataset(layer="phase")


def hover_and_click(page, view):
    phase = pixels(page, "phase", "Uint8Array")
    for row, column in [(2, 3), (7, 9)]:
        title = view["phases"][phase[row * view["shape"][1] + column]]["title"]
        page.page.mouse.move(*page.place(row, column, view))
        page.text("map-reading", f"row {row}, column {column}")
        page.text("map-reading", title)
        page.page.mouse.click(*page.place(row, column, view))
        page.text("spectrum", f"Pixel {row}, {column}")
        page.text("pixel-verdict", title)
    answer = page.json(f"{base}/pixel.json?row=7&column=9")
    count = sum(value is not None for value in answer["spectrum"]["od"])
    assert count == energies, answer["spectrum"]
    page.see("all values in the chart", "(n) => document.querySelectorAll('[data-test=\"spectrum-chart\"] circle.measured[r=\"2.4\"]').length === n", count)
    page.text("spectrum", "fit")
    with page.page.expect_download() as kept:
        page.test("spectrum").get_by_role("button", name="CSV").click()
    table = open(kept.value.path(), encoding="utf-8").read()
    rows = [line for line in table.splitlines() if line and not line.startswith("#")]
    assert len(rows) == energies + 1, table


def regions(page, view):
    """A rectangle by mouse, a lasso by mouse, a rectangle by keyboard."""
    mouse = page.page.mouse

    def drag(corners):
        mouse.move(*page.place(*corners[0], view))
        mouse.down()
        for corner in corners[1:]:
            mouse.move(*page.place(*corner, view), steps=4)
        mouse.up()

    page.test("tool-rectangle").click()
    drag([(2, 3), (6, 7)])
    text = page.text("spectrum", "Region of")
    pixels_in = int(text.split("Region of ")[1].split(" ")[0])
    assert 16 <= pixels_in <= 25, text
    page.text("region-fractions", "%")
    page.see("its mean spectrum", "(n) => document.querySelectorAll('[data-test=\"spectrum-chart\"] circle.measured[r=\"2.4\"]').length === n", energies)
    page.test("tool-lasso").click()
    drag([(1, 1), (1, 12), (10, 12)])
    page.see("another region", "(many) => { const text = document.querySelector('[data-test=\"spectrum\"] h2').textContent; return text.startsWith('Region of') && !text.includes(`of ${many} `); }", pixels_in)
    page.page.keyboard.press("c")
    page.text("spectrum", "Click a pixel")
    # The keyboard alone.
    page.page.keyboard.press("m")
    page.see("the focus on the map", "() => document.activeElement.classList.contains('map-canvas')")
    mouse.move(2, 2)
    page.page.keyboard.press("ArrowRight")
    reading = page.text("map-reading", "row ")
    page.page.keyboard.press("Enter")
    page.text("spectrum", "Pixel ")
    page.page.keyboard.press("r")
    for key in ["ArrowRight", "ArrowRight", "ArrowDown"]:
        page.page.keyboard.press(key)
    page.page.keyboard.press("Enter")
    page.text("spectrum", "Region of 6 pixels")
    page.text("region-fractions", "%")
    page.see("what was read aloud", "() => document.getElementById('say').textContent.startsWith('Region of 6')")
    assert "row " in reading
    page.page.keyboard.press("Escape")
    page.text("spectrum", "Click a pixel")
    # Once more: the cursor, too.
    page.page.keyboard.press("Escape")


def moving(page, view):
    """Zoom and pan change what is painted, and a double click fits again."""
    page.page.mouse.move(2, 2)
    page.see("the numbers gone", "() => document.querySelector('[data-test=\"map-reading\"]').textContent.startsWith('Point at')")
    fitted = page.picture()
    x, y = page.place(5, 5, view)
    page.page.mouse.move(x, y)
    page.page.mouse.wheel(0, -400)
    page.page.mouse.move(2, 2)
    until("a nearer map", lambda: page.picture() != fitted, page.pause)
    nearer = page.picture()
    x, y = page.place(5, 5, view)
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x + 60, y + 40, steps=3)
    page.page.mouse.up()
    page.page.mouse.move(2, 2)
    until("a map that has moved", lambda: page.picture() not in (nearer, fitted), page.pause)
    page.page.keyboard.press("m")
    page.page.keyboard.press("0")
    until("the whole map again", lambda: page.picture() == fitted, page.pause)


with browser() as chromium, screen(chromium, told["base"]) as page:
    # There is no map before the first energies.
    page.expected = ["404"]
    view = growing(page)
    colours(page, view)
    layers(page, view)
    hover_and_click(page, view)
    regions(page, view)
    moving(page, view)
    page.text("fractions", "%")
    # The archive has it now, and the page was not loaded anew.
    page.test("trends").scroll_into_view_if_needed()
    page.text("trend-scans", scan)
    assert page.overflow() <= 0
