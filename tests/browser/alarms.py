"""An alarm: title, icon, bar; acknowledged and silenced, with the token that is asked for."""

from screen import beamline, browser, facts, screen

told = facts()
BAR = '[data-test="critical-bar"]'


def icon(page):
    return page.page.evaluate("() => document.querySelector('link[rel=icon]').href")


def sign_in(page, who, wrong):
    """Fills in who one is, then the token: wrong ones first."""
    dialog = page.page.locator("dialog[open]")
    dialog.locator("input[name=by]").fill(who)
    dialog.locator("button[type=submit]").click()
    for token in [*wrong, told["token"]]:
        asked = page.test("token-dialog")
        asked.locator("input[name=token]").fill(token)
        # It is never to be read on the screen.
        assert asked.locator("input[name=token]").get_attribute("type") == "password"
        asked.locator("button[type=submit]").click()
        page.see("that the dialog closes", "(token) => ![...document.querySelectorAll('input[name=token]')].some((one) => one.value === token)", token)


with browser() as chromium, screen(chromium, told["base"]) as page, screen(chromium, told["base"], scheme="light") as other:
    page.expected = ["401", "403"]
    for one in (page, other):
        one.open()
        one.dataset(connection="open", alarm="calm")
        one.text("empty", "Waiting for a scan")
    calm, title = icon(page), page.page.title()
    assert calm.startswith("data:image/png") and not page.page.is_visible(BAR)

    beamline("warning")
    page.dataset(alarm="warning")
    warned = icon(page)
    assert page.page.title().startswith("▲ WARNING") and warned != calm, page.page.title()
    assert not page.page.is_visible(BAR), "a warning is no red bar"

    beamline("critical")
    for one in (page, other):
        one.dataset(alarm="critical")
        assert one.page.title().startswith("■ CRITICAL"), one.page.title()
        one.page.wait_for_selector(BAR)
        box, window = one.page.locator(BAR).bounding_box(), one.page.viewport_size
        assert box["y"] == 0 and box["width"] > 0.97 * window["width"], "it goes across the top"
        red, green, blue = one.page.evaluate("""(bar) => {
            const style = getComputedStyle(document.querySelector(bar));
            return style.backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number);
        }""", BAR)
        assert red > 150 > 80 > max(green, blue), (red, green, blue)
    assert len({icon(page), warned, calm}) == 3, "each has an icon of its own"

    # The dialog closed: nothing is done, and nobody is asked for a token.
    page.page.locator(BAR).get_by_role("button", name="Acknowledge").click()
    page.page.keyboard.press("Escape")
    page.see("no dialog", "() => !document.querySelector('dialog')")
    assert page.page.is_visible(BAR)

    page.page.locator(BAR).get_by_role("button", name="Acknowledge").click()
    sign_in(page, "Ada", ["guessed"])
    for one in (page, other):
        one.dataset(alarm="warning")
        one.see("no bar", "(bar) => document.querySelector(bar).hidden", BAR)
    alerts = {alert["level"]: alert for alert in page.json("/api/v1/alerts")}
    assert alerts["critical"]["acknowledgement"]["by"] == "Ada" and alerts["critical"]["acknowledged"], alerts
    assert not alerts["warning"]["acknowledged"]
    kept = page.page.evaluate("() => [localStorage.getItem('token'), sessionStorage.getItem('token')]")
    assert kept == [None, told["token"]], "kept until the window is closed, and no longer"
