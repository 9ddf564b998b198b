"""The daemon goes and comes: what is old is never taken for what is now."""

from screen import beamline, browser, facts, screen

told = facts()


def is_there(page):
    page.dataset(connection="open", alarm="calm", scan="kept")
    page.see("no bar", "() => document.querySelector('[data-test=\"connection-bar\"]').hidden")
    page.see("a map that is not grey", "() => document.querySelector('.scan-view') && !document.querySelector('.scan-view').classList.contains('old')")
    page.dataset(layer="phase")


with browser() as chromium, screen(chromium, told["base"]) as page:
    page.expected = ["ERR_", "404"]
    page.open()
    is_there(page)
    calm = page.page.evaluate("() => document.querySelector('link[rel=icon]').href")
    for order in ["stop", "kill"]:
        beamline(order)
        page.dataset(connection="lost", alarm="lost")
        page.text("connection-bar", "No connection to the daemon")
        page.text("connection-bar", "may be old")
        page.text("connection", "no connection")
        if order == "kill":
            # One that was stopped has said how it leaves the scan.
            page.text("badges", "as last known")
        assert page.page.title().startswith("? NO CONNECTION"), page.page.title()
        assert page.page.evaluate("() => document.querySelector('link[rel=icon]').href") != calm
        box, window = page.test("connection-bar").bounding_box(), page.page.viewport_size
        assert box["width"] > 0.97 * window["width"] and box["height"] > 24, box
        filters = page.page.evaluate("""() => {
            const view = document.querySelector(".scan-view");
            const near = [view, ...view.querySelectorAll(".map-host, .map-canvas")];
            return near.map((one) => getComputedStyle(one).filter + getComputedStyle(one, "::after").content + getComputedStyle(one, "::before").content).join();
        }""")
        assert "grayscale" in filters and "not current" in filters, filters
        beamline("start")
        is_there(page)
    beamline("rest")
    page.dataset(state="archived")
    page.text("course", "100 %")
