"""Dark and light, a narrow window, the keyboard alone, the policy that keeps others out."""

from screen import browser, facts, screen

told = facts()

# Brightness of the ground and of the text, 0 to 1, as they are computed.
BRIGHTNESS = """() => {
    const of = (colour) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
        const context = canvas.getContext("2d");
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
        return (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
    };
    const style = getComputedStyle(document.body);
    return [of(style.backgroundColor), of(style.color)];
}"""
# Buttons and links that show a focus, and those that have no name to be read.
NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, canvas[tabindex]")]
    .filter((one) => one.offsetParent !== null)
    .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.title || one.labels?.length || one.getAttribute("aria-labelledby")))
    .map((one) => one.outerHTML)"""


def themes(chromium):
    for scheme, is_dark in [("dark", True), ("light", False)]:
        with screen(chromium, told["base"], scheme=scheme) as page:
            page.open()
            page.dataset(scan="looks", layer="phase")
            ground, text = page.page.evaluate(BRIGHTNESS)
            assert (ground < 0.25 and text > 0.7) if is_dark else (ground > 0.8 and text < 0.3), (scheme, ground, text)
            before = page.picture()
            # auto, light, dark, auto
            for wanted in ["light", "dark", None]:
                page.page.keyboard.press("d")
                page.see(f"theme {wanted}", "(wanted) => (document.documentElement.dataset.theme ?? null) === wanted", wanted)
                ground, _ = page.page.evaluate(BRIGHTNESS)
                assert (ground > 0.8) == (wanted == "light" or (wanted is None and not is_dark)), (wanted, ground)
            page.page.keyboard.press("d")
            page.page.reload()
            page.dataset(scan="looks", layer="phase")
            assert page.page.evaluate("() => document.documentElement.dataset.theme") == "light", "it is kept"
            assert before


def narrow(chromium):
    for width, height in [(390, 844), (320, 640), (768, 1024)]:
        with screen(chromium, told["base"], width=width, height=height, has_touch=True) as page:
            page.open()
            page.dataset(scan="looks", layer="phase")
            base = page.json("/api/v1/archive")["scans"][0]["base"].removeprefix("/api/v1")
            for place, view in [("#/live", "live"), ("#/history", "history"), ("#/system", "system"), (f"#{base}", "archive")]:
                page.go(place)
                page.dataset(view=view)
                page.see("what is in it", "() => document.getElementById('main').innerText.length > 60")
                if view in ("live", "archive"):
                    page.see("the map", "() => document.querySelector('.map-canvas').width > 200")
                assert page.overflow() <= 0, (width, place, page.overflow())
            page.go("#/live")
            page.dataset(view="live", layer="phase")
            view = page.json("/api/v1/scans/looks/view.json")
            page.page.touchscreen.tap(*page.place(5, 6, view))
            page.text("spectrum", "Pixel 5, 6")
            assert page.overflow() <= 0, (width, "with a spectrum")


def keyboard(chromium):
    with screen(chromium, told["base"]) as page:
        page.open()
        page.dataset(scan="looks", layer="phase")
        press = page.page.keyboard.press
        # The first stop skips what is above; each stop is seen.
        press("Tab")
        assert page.page.evaluate("() => document.activeElement.id") == "skip"
        seen = set()
        for _ in range(25):
            press("Tab")
            name, outline = page.page.evaluate("""() => {
                const one = document.activeElement;
                const style = getComputedStyle(one);
                return [one.outerHTML.slice(0, 120), style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0];
            }""")
            assert outline or "<body" in name, f"the focus is not seen on {name}"
            seen.add(name)
        assert len(seen) > 15, seen
        assert page.page.evaluate(NAMELESS) == []
        shown = page.page.locator('[data-test="layers"] button').evaluate_all("all => all.map((one) => one.dataset.layer)")
        for number in [2, 3, 1]:
            press(str(number))
            page.dataset(layer=shown[number - 1])
        press("]")
        page.dataset(layer="od")
        press("[")
        press("1")
        page.dataset(layer="phase")
        press("?")
        page.test("keys-dialog").wait_for()
        press("Escape")
        page.see("no dialog", "() => !document.querySelector('dialog')")
        for key, view in [("h", "history"), ("s", "system"), ("l", "live")]:
            press(key)
            page.dataset(view=view)
            page.see("the focus in it", "() => document.activeElement.id === 'main'")
            assert page.page.evaluate(NAMELESS) == []
        # A letter in a field is a letter.
        press("h")
        page.test("history-search").fill("")
        page.test("history-search").press("s")
        assert page.page.evaluate("() => document.body.dataset.view") == "history"


with browser() as chromium:
    themes(chromium)
    narrow(chromium)
    keyboard(chromium)
