"""The archive: search, open, download, compare."""

from screen import browser, facts, screen

told = facts()


def cards(page, many):
    page.see(f"{many} scans in the gallery", "(n) => document.querySelectorAll('[data-test=\"scan-card\"]').length === n", many)


def search(page):
    page.open()
    page.dataset(connection="open")
    page.page.keyboard.press("h")
    page.dataset(view="history")
    page.text("history-total", "3 scans")
    cards(page, 3)
    page.see("all pictures", "() => [...document.querySelectorAll('.gallery img')].every((one) => one.complete && one.naturalWidth > 0)")
    page.text("gallery", "simulated")
    page.test("history-search").fill("bef")
    cards(page, 1)
    page.text("gallery", "before")
    page.test("history-search").fill("nothing like this")
    page.text("history-total", "No scan is like that")
    page.test("history-search").fill("")
    cards(page, 3)


def opened(page):
    page.page.get_by_role("link", name="before", exact=True).click()
    page.dataset(view="archive", scan="before", state="archived", layer="phase")
    page.text("badges", "archived")
    page.text("badges", "simulated")
    base = page.page.evaluate("() => location.hash").replace("#/", "/api/v1/")
    view = page.json(f"{base}/view.json")
    assert view["scan_id"] == "before" and not view["live"]
    page.page.mouse.click(*page.place(4, 5, view))
    page.text("spectrum", "Pixel 4, 5")
    page.text("spectrum", "fit")
    many = len(view["energies"])
    page.see("all values", "(n) => document.querySelectorAll('[data-test=\"spectrum-chart\"] circle.measured[r=\"2.4\"]').length === n", many)
    magic = {
        "Parquet: the map": b"PAR1", "Arrow: the map": b"\xff\xff\xff\xff", "PNG: the picture": b"\x89PNG", "CSV: spectra of the phases": None,
        "Arrow: spectra": b"\xff\xff\xff\xff", "NXstxm: the whole scan": b"\x89HDF",
    }
    for name, begins in magic.items():
        menu = page.test("downloads")
        if menu.get_attribute("open") is None:
            menu.locator("summary").click()
        with page.page.expect_download() as kept:
            menu.get_by_role("button", name=name).click()
        assert kept.value.suggested_filename.startswith("before"), kept.value.suggested_filename
        bytes_ = open(kept.value.path(), "rb").read()
        if begins:
            assert bytes_.startswith(begins), (name, bytes_[:20])
        else:
            rows = [line for line in bytes_.decode().splitlines() if line and not line.startswith("#")]
            assert len(rows) == many * len(view["phases"]) + 1, bytes_.decode()
    page.page.keyboard.press("Escape")


def compared(page):
    page.go("#/history")
    cards(page, 3)
    for name in ["before", "after"]:
        page.page.get_by_label(f"Compare {name}").check()
    page.test("compare").click()
    page.dataset(view="compare")
    text = page.see("the difference", """() => {
        const text = document.getElementById("main").innerText;
        return /of [\\d\\u2009\\u202f ,]+ pixels have another phase/.test(text) && text;
    }""")
    # The same, from the layers.
    scans = {scan["scan_id"]: scan["base"] for scan in page.json("/api/v1/archive")["scans"]}
    code = "async (path) => [...new Uint8Array(await (await fetch(path)).arrayBuffer())]"
    layers = {(scan, name): page.page.evaluate(code, f"{scans[scan]}/layers/{name}.bin") for scan in ["before", "after"] for name in ["phase", "status"]}
    view = page.json(f"{scans['before']}/view.json")
    sure = {view["statuses"].index(name) for name in ["classified", "mixture"]}
    pairs = [pair for pair in zip(*(layers[key] for key in [("before", "phase"), ("after", "phase"), ("before", "status"), ("after", "status")])) if {*pair[2:]} <= sure]
    differ = sum(a != b for a, b, _, _ in pairs)
    assert 0.3 < differ / len(pairs) < 0.7, "the lower half has moved"
    assert f"{100 * differ / len(pairs):.1f} %" in text.replace("\u2009", " ").replace("\u202f", " ").replace("\xa0", " "), text
    # One cursor for both.
    x, y = page.place(2, 3, view)
    page.page.mouse.move(x, y)
    page.see("both readings", "() => [...document.querySelectorAll('#main *')].filter((one) => one.childElementCount === 0 && one.textContent === 'row 2, column 3').length === 2")
    assert "What became what" in text
    # Grids that differ: side by side, and why there is no difference.
    page.go(f"#/compare/{scans['before'].replace('/', '%2F')}/{scans['smaller'].replace('/', '%2F')}")
    page.see("why there is none", "() => document.getElementById('main').innerText.includes('There is no difference map')")


with browser() as chromium, screen(chromium, told["base"]) as page:
    search(page)
    opened(page)
    compared(page)
    assert page.overflow() <= 0
