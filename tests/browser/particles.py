"""Particles: outlines on the map, the list, one of them picked on either side; live and in the archive."""

import math
import os

from screen import beamline, browser, facts, screen

told = facts()
scan = told["scan"]
base = f"/api/v1/scans/{scan}"
PHONE = {"width": 390, "height": 844, "has_touch": True}


def shown(page, base, generation=None):
    """What the daemon says of particles, once the page has the same."""
    code = """async ([path, generation]) => {
        const answer = await fetch(path);
        if (!answer.ok) return false;
        const found = await answer.json();
        const fresh = generation === null ? true : found.generation === generation;
        return fresh && document.body.dataset.particles === String(found.particles.length) && found;
    }"""
    return page.see("the particles", code, [f"{base}/particles", generation])


def rows(page):
    """The list, row by row: number and what stands in the cells."""
    code = """() => [...document.querySelectorAll('[data-test="particles-table"] tbody tr')]
        .map((row) => [Number(row.dataset.particle), ...[...row.cells].slice(1).map((cell) => cell.innerText.trim())])"""
    return page.page.evaluate(code)


def written(value):
    """A number as the page writes it, to three digits."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def middle(particle, page, view):
    row, column = particle["centre_px"]
    return page.place(round(row), round(column), view)


def are_equal(page, found):
    """The list says what the API says."""
    listed = {row[0]: row[1:] for row in rows(page)}
    assert sorted(listed) == sorted(one["id"] for one in found["particles"]), listed
    for one in found["particles"]:
        area, state, _, doubts = listed[one["id"]]
        x = one["x"]
        assert area == written(one["area_um2"]["value"]), (area, one)
        assert state == f"{x['middle']:.2f} ({x['low']:.2f} to {x['high']:.2f})", (state, one)
        assert ("at border" in doubts) == one["at_border"], (doubts, one)
        assert ("overlaps" in doubts) == one["overlaps"], (doubts, one)
        for other in one["touches"]:
            assert str(other) in doubts, (doubts, one)
        bars = page.page.locator(f'tr[data-particle="{one["id"]}"] .stack span').evaluate_all("all => all.map((part) => parseFloat(part.style.width))")
        wanted = [100 * share["value"] for share in one["shares"] if share["value"] > 0]
        assert len(bars) == len(wanted) and all(abs(a - b) < 0.01 for a, b in zip(bars, wanted)), (bars, wanted)
        # The bar has its whiskers where the numbers are.
        low, high, dot = page.page.evaluate("""(id) => {
            const bar = document.querySelector(`tr[data-particle="${id}"] .interval-bar`);
            const whisker = bar.querySelector(".whisker");
            return [whisker.getAttribute("x1"), whisker.getAttribute("x2"), bar.querySelector("circle").getAttribute("cx")].map(Number);
        }""", one["id"])
        if x["high"] > x["low"]:
            share = (x["middle"] - x["low"]) / (x["high"] - x["low"])
            assert abs(dot - (low + share * (high - low))) < 0.2, (low, high, dot, x)


def outlined(page, view, found):
    """Ink where an outline is, none where it is switched off."""
    page.page.mouse.move(2, 2)
    code = """([x, y]) => {
        const canvas = document.querySelector(".map-canvas");
        const box = canvas.getBoundingClientRect();
        const ratio = canvas.width / box.width;
        const near = canvas.getContext("2d").getImageData(Math.round((x - box.left) * ratio) - 2, Math.round((y - box.top) * ratio) - 2, 5, 5).data;
        return Math.max(...Array.from({ length: 25 }, (_, i) => Math.min(near[4 * i], near[4 * i + 1], near[4 * i + 2])));
    }"""

    def sides():
        # How white it is about the middle of the first side of each.
        seen = []
        for one in found["particles"]:
            (x0, y0), (x1, y1) = one["outline"][0][:2]
            left, top = page.place((y0 + y1) / 2 - 0.5, (x0 + x1) / 2 - 0.5, view)
            seen.append(page.page.evaluate(code, [left, top]))
        return seen

    on = sides()
    page.page.keyboard.press("p")
    page.see("outlines off", "() => document.querySelector('[data-test=\"tool-particles\"]').getAttribute('aria-pressed') === 'false'")
    page.see("that the map is drawn anew", "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    off = sides()
    # In the dark theme the line is white.
    assert min(on) > 170 > 110 > max(off), (on, off)
    page.page.reload()
    page.dataset(scan=scan, layer="phase")
    shown(page, page.page.evaluate("() => location.hash").replace("#/archive", "/api/v1/archive") if "archive" in page.page.url else base)
    assert page.test("tool-particles").get_attribute("aria-pressed") == "false", "it is kept"
    page.test("tool-particles").click()
    assert page.test("tool-particles").get_attribute("aria-pressed") == "true"


def picked(page, view, found):
    """On the map and in the list, the other way round, by mouse and by keyboard."""
    first, second = found["particles"][0], found["particles"][1]
    page.page.mouse.click(*middle(first, page, view))
    page.dataset(particle=first["id"])
    assert page.page.locator("tr.picked").get_attribute("data-particle") == str(first["id"])
    text = page.text("particle-reading", f"Particle {first['id']}")
    assert f"area {written(first['area_um2']['value'])} ±" in text and f"na_x {first['x']['middle']:.2f}" in text, text
    biggest = max(first["shares"], key=lambda share: share["value"])["value"]
    assert f"{100 * biggest:.0f} %" in text, (text, first["shares"])
    plain = page.picture()
    page.page.locator(f'tr[data-particle="{second["id"]}"] td').first.click()
    page.dataset(particle=second["id"])
    page.see("the other one marked on the map", "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
    assert page.picture() != plain, "the map marks it"
    page.page.mouse.move(2, 2)
    page.text("particle-reading", f"Particle {second['id']}")
    # By keyboard: a row, and from there to the next.
    button = page.page.get_by_role("button", name=f"Particle {first['id']}", exact=True)
    button.focus()
    page.page.keyboard.press("Enter")
    page.dataset(particle=first["id"])
    assert button.get_attribute("aria-pressed") == "true"
    page.page.keyboard.press("ArrowDown")
    assert page.page.evaluate("() => document.activeElement.closest('tr').dataset.particle") != str(first["id"])
    # On the map the cursor reads particles aloud.
    page.page.keyboard.press("c")
    page.see("nothing picked", "() => document.body.dataset.particle === undefined")
    page.page.keyboard.press("m")
    for _ in range(8):
        page.page.keyboard.press("ArrowUp")
    for _ in range(8):
        page.page.keyboard.press("ArrowLeft")
        if "Particle " in page.page.evaluate("() => document.getElementById('say').textContent"):
            break
    page.text("particle-reading", "µm²")
    assert "Particle " in page.page.evaluate("() => document.getElementById('say').textContent")
    page.page.keyboard.press("Enter")
    page.see("one picked", "() => document.body.dataset.particle !== undefined")
    page.page.keyboard.press("c")


def is_sorted(page, found):
    by = {one["id"]: one for one in found["particles"]}
    order = lambda: [row[0] for row in rows(page)]
    assert order() == sorted(by)
    for name, value in [("Sort by area", lambda one: one["area_um2"]["value"]), ("Sort by the mean of the state variable", lambda one: one["x"]["middle"])]:
        head = page.page.get_by_title(name)
        head.click()
        values = [value(by[id]) for id in order()]
        assert values == sorted(values, reverse=True), (name, values)
        assert head.locator("xpath=..").get_attribute("aria-sort") == "descending"
        head.click()
        values = [value(by[id]) for id in order()]
        assert values == sorted(values), (name, values)
    page.page.get_by_title("Sort by number").click()
    assert order() == sorted(by)


def live(chromium):
    with screen(chromium, told["base"], particles=True) as page:
        # There is nothing before the first map.
        page.expected = ["404"]
        page.open()
        page.dataset(connection="open")
        beamline("half")
        page.dataset(scan=scan)
        found = shown(page, base)
        view = page.json(f"{base}/view.json")
        assert len(found["particles"]) >= 6 and any(one["at_border"] for one in found["particles"]), found
        assert found["generation"] > 0 and found["text"].startswith(f"{len(found['particles'])} particles"), found["text"]
        page.text("findings-text", found["text"])
        page.text("particles", f"of map {found['generation']}")
        are_equal(page, found)
        # What is picked stays picked, and its row is the same row.
        inner = next(one for one in found["particles"] if not one["at_border"])
        page.page.mouse.click(*middle(inner, page, view))
        page.dataset(particle=inner["id"])
        page.page.evaluate("(id) => { document.querySelector(`tr[data-particle=\"${id}\"]`).mark = true; }", inner["id"])
        asked = len([url for url in page.requests if url.endswith("/particles")])
        beamline("more")
        code = """async ([path, before]) => {
            const found = await (await fetch(path)).json();
            const text = document.querySelector('[data-test="particles"]').innerText;
            return found.generation > before && text.includes(`of map ${found.generation}`) && found;
        }"""
        found = page.see("a later map's particles", code, [f"{base}/particles", found["generation"]])
        assert page.page.evaluate("(id) => document.querySelector(`tr[data-particle=\"${id}\"]`).mark === true", inner["id"]), "the row stays"
        page.dataset(particle=inner["id"])
        are_equal(page, found)
        again = len([url for url in page.requests if url.endswith("/particles")]) - asked
        assert again < 60, again
        beamline("rest")
        page.dataset(state="archived")
        found = shown(page, base, 0)
        page.see("that it is not of a map on the way", "() => !document.querySelector('[data-test=\"particles\"]').innerText.includes('of map')")
        are_equal(page, found)
        # The settled map numbers them anew; what was picked is still the same piece.
        number = int(page.page.evaluate("() => document.body.dataset.particle"))
        still = next(one for one in found["particles"] if one["id"] == number)
        assert abs(still["centre_px"][0] - inner["centre_px"][0]) < 2 and abs(still["centre_px"][1] - inner["centre_px"][1]) < 2, (still, inner)
        page.page.keyboard.press("c")
        picked(page, view, found)
        is_sorted(page, found)
        page.page.screenshot(path=os.path.join(os.environ["KEEP"], "particles.png"), full_page=True)
        outlined(page, view, found)


def archived(chromium):
    with screen(chromium, told["base"], particles=True, scheme="light") as page:
        place = page.json("/api/v1/archive")["scans"][0]["base"]
        page.open("#" + place.removeprefix("/api/v1"))
        page.dataset(view="archive", scan=scan, state="archived", layer="phase")
        found = shown(page, place)
        assert found == page.json(f"{base}/particles"), "the archive says what the board says"
        page.text("findings-text", found["text"])
        are_equal(page, found)
        picked(page, page.json(f"{place}/view.json"), found)
        assert len([url for url in page.requests if url.endswith("/particles")]) <= 3, "fetched when there is something new"
    with screen(chromium, told["base"], particles=True, **PHONE) as page:
        page.open("#" + place.removeprefix("/api/v1"))
        page.dataset(view="archive", scan=scan, layer="phase")
        found = shown(page, place)
        assert page.overflow() <= 0
        page.page.touchscreen.tap(*middle(found["particles"][0], page, page.json(f"{place}/view.json")))
        page.dataset(particle=found["particles"][0]["id"])
        page.text("particle-reading", f"Particle {found['particles'][0]['id']}")
        assert page.overflow() <= 0
        page.page.screenshot(path=os.path.join(os.environ["KEEP"], "particles-phone.png"), full_page=True)


with browser() as chromium:
    live(chromium)
    archived(chromium)
