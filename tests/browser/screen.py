"""A browser on the daemon's page, and what a test asks of it.

Nothing here waits by the clock: every wait is for something to be seen, with a deadline that only a broken page reaches. The page's own
content security policy forbids to evaluate text as code, so that Playwright's wait_for_function is of no use.
"""

import base64
import hashlib
import json
import os
import sys
import time
import urllib.request
from contextlib import contextmanager

from playwright.sync_api import sync_playwright

PATIENCE_S = 60

# Tells what the page was kept from.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


def facts():
    """What the test says to its script."""
    return json.loads(sys.argv[1])


def beamline(order):
    """Has something happen at the beamline, and waits until it has."""
    print(f"? {order}", flush=True)
    answer = sys.stdin.readline()
    assert answer, f"nobody answers to {order!r}"
    return answer.strip()


def until(what, look, wait=None):
    """Looks until it sees something, and returns that."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not seen in {PATIENCE_S} s: {what}"
        # Between two looks, not instead of one.
        (wait or time.sleep)(0.03)


class Screen:
    """One page."""

    def __init__(self, page, base):
        self.page = page
        self.base = base
        self.errors = []
        self.requests = []
        # What a test makes fail: parts of what the console then says.
        self.expected = []
        page.on("console", lambda message: message.type == "error" and self.errors.append(f"{message.text} ({message.location.get('url')})"))
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("request", lambda request: self.requests.append(request.url))
        page.add_init_script(WATCH)

    def open(self, place="#/live"):
        self.page.goto(f"{self.base}/{place}")

    def go(self, place):
        self.page.evaluate("(place) => { location.hash = place; }", place)

    def pause(self, seconds):
        """Lets the browser's news come in meanwhile, which sleeping would not."""
        self.page.wait_for_timeout(1000 * seconds)

    def see(self, what, code, argument=None):
        """Evaluates a function in the page until it says something that is not false."""
        return until(what, lambda: self.page.evaluate(code, argument), self.pause)

    def dataset(self, **wanted):
        """Waits until the body says so."""
        for name, value in wanted.items():
            try:
                self.see(f"{name} {value}", "([name, value]) => document.body.dataset[name] === value", [name, str(value)])
            except AssertionError as error:
                raise AssertionError(f"{error}; it is {self.page.evaluate('() => ({ ...document.body.dataset })')}") from None

    def test(self, name):
        """The element with this data-test."""
        return self.page.locator(f'[data-test="{name}"]')

    def text(self, name, wanted):
        """Waits until the text of an element has this in it; returns the text."""
        code = """([name, wanted]) => {
            const text = [...document.querySelectorAll(`[data-test="${name}"]`)].map((one) => one.innerText).join("\\n");
            return text.toLowerCase().includes(wanted.toLowerCase()) && (text || " ");
        }"""
        try:
            return self.see(f"{wanted!r} in {name}", code, [name, wanted])
        except AssertionError as error:
            shown = [one.inner_text() for one in self.test(name).all()]
            raise AssertionError(f"{error}; it says {shown}") from None

    def json(self, path):
        """What the daemon answers."""
        with urllib.request.urlopen(self.base + path, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def place(self, row, column, view):
        """Where a pixel of the map that fits its canvas is: x and y in the window. Reckoned here, not asked of the page."""
        self.page.locator(".map-canvas").first.scroll_into_view_if_needed()
        box = self.page.locator(".map-canvas").first.bounding_box()
        ny, nx = view["shape"]
        aspect = abs(view["step"][0] / view["step"][1])
        scale = min(box["width"] / nx, box["height"] / (ny * aspect)) * 0.98
        up, left = view["flip"]
        x = (column + 0.5 - nx / 2) * scale * (-1 if left else 1)
        y = (row + 0.5 - ny / 2) * scale * aspect * (-1 if up else 1)
        return box["x"] + box["width"] / 2 + x, box["y"] + box["height"] / 2 + y

    def colour(self, row, column, view):
        """What is painted in the middle of a pixel of the map: red, green, blue, opacity."""
        x, y = self.place(row, column, view)
        code = """([x, y]) => {
            const canvas = document.querySelector(".map-canvas");
            const box = canvas.getBoundingClientRect();
            const ratio = canvas.width / box.width;
            return [...canvas.getContext("2d").getImageData(Math.round((x - box.left) * ratio), Math.round((y - box.top) * ratio), 1, 1).data];
        }"""
        return self.page.evaluate(code, [x, y])

    def picture(self):
        """A digest of what is painted on the map."""
        url = self.page.evaluate("() => document.querySelector('.map-canvas').toDataURL()")
        return hashlib.sha256(base64.b64decode(url.split(",")[1])).hexdigest()

    def overflow(self):
        """By how much the page is wider than its window."""
        return self.page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")

    def check(self):
        """No errors, nothing that the policy forbids, nothing from elsewhere."""
        errors = [error for error in self.errors if not any(word in error for word in self.expected)]
        assert errors == [], errors
        assert self.page.evaluate("() => window.violations") == []
        elsewhere = [url for url in self.requests if not url.startswith((self.base + "/", "blob:", "data:"))]
        assert elsewhere == [], elsewhere


@contextmanager
def browser():
    """The browser itself; its pages are in contexts of their own."""
    with sync_playwright() as playwright:
        # Lights and fonts of the machine shall not matter.
        arguments = ["--disable-gpu", "--force-color-profile=srgb"]
        chromium = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"], args=arguments)
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def screen(chromium, base, width=1440, height=1000, scheme="dark", particles=False, **more):
    """One page in a window of its own. What it showed when a test failed is kept. Outlines of particles, and their numbers, cover pixels whose
    colours other tests ask for: they are off where nothing else is said."""
    context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", **more)
    context.set_default_timeout(1000 * PATIENCE_S)
    if not particles:
        context.add_init_script("try { localStorage.setItem('particles', 'off'); } catch { /* not of a page */ }")
    page = context.new_page()
    try:
        shown = Screen(page, base)
        yield shown
        shown.check()
    except BaseException:
        name = os.path.join(os.environ["KEEP"], f"{os.path.basename(sys.argv[0])}.failed.png")
        page.screenshot(path=name)
        print(f"what was on the screen: {name}\n{shown.errors}", file=sys.stderr)
        raise
    finally:
        context.close()
