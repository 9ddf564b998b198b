"""Every module of the page is loaded; those without a page are reckoned with. And what the policy forbids does not happen."""

import math

from screen import browser, facts, screen

told = facts()


def reckon(page, code, argument=None):
    """Runs the body of an async function of `load` (imports a module) and `it`."""
    return page.page.evaluate(f"async (it) => {{ const load = (name) => import(`/static/${{name}}.js`); {code} }}", argument)


def events(page):
    """However a stream is cut, the same events come out."""
    text = "event: map\ndata: {\"a\":1}\n\n: alive\n\nevent: scan\r\ndata: one\r\ndata: two\r\n\r\ndata:bare\n\nevent: cut"
    wanted = [{"event": "map", "data": '{"a":1}'}, {"event": "scan", "data": "one\ntwo"}, {"event": "message", "data": "bare"}]
    code = "const { EventParser } = await load('events'); const parser = new EventParser(); return it.flatMap((part) => parser.push(part));"
    for size in [1, 2, 3, 7, 1000]:
        parts = [text[at:at + size] for at in range(0, len(text), size)]
        assert reckon(page, code, parts) == wanted, size


def pace(page):
    code = """const { Pace } = await load("pace"); const pace = new Pace();
        for (const [time, values] of it) pace.push(time, values);
        return [pace.secondsLeft(1000, 0), pace.secondsLeft(it.at(-1)[1], 0)];"""
    # Ten values a second, then twenty: the latest pace counts.
    steady = [[1000 * second, 10 * second] for second in range(1, 41)]
    left, none = reckon(page, code, steady)
    assert math.isclose(left, 60.0, rel_tol=1e-6) and none is None, (left, none)
    faster = steady + [[40_000 + 1000 * second, 400 + 20 * second] for second in range(1, 21)]
    left, _ = reckon(page, code, faster)
    assert math.isclose(left, 10.0, rel_tol=0.1), left
    # A scan that begins anew forgets, and thousands of values are no burden.
    left, _ = reckon(page, code, faster + [[100_000, 5], [101_000, 10], [102_000, 15], [103_000, 20]])
    assert math.isclose(left, 980 / 5, rel_tol=0.35), left
    many = [[100 * index, index] for index in range(1, 901)]
    left, _ = reckon(page, code, many)
    assert math.isclose(left, 10.0, rel_tol=0.05), left


def colours(page):
    """Lightness only rises, in even steps."""
    scale = reckon(page, "return (await load('colours')).SCALE;")
    assert len(scale) == 256

    def lightness(colour):
        linear = [(c / 255 / 12.92) if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance

    steps = [lightness(colour) for colour in scale]
    assert all(later > earlier - 0.6 for earlier, later in zip(steps, steps[1:])), steps
    assert all(later > earlier for earlier, later in zip(steps, steps[8:])), steps
    assert steps[-1] - steps[0] > 65, "from dark to light"
    packed = reckon(page, "const { packed } = await load('colours'); return packed([1, 2, 3], 4);")
    assert packed == 0x04030201


def fits(page):
    """The curve goes through what was lost between the first and the last reading, with the rate that it begins with."""
    code = """const { fitOf } = await load("damage");
        const readings = it.doses.map((dose) => ({ dose, value: it.level - it.plateau * (1 - Math.exp(-it.rate * dose)), sigma: 0.01 }));
        const end = it.doses.at(-1), start = it.doses[0];
        const lost = it.plateau * (Math.exp(-it.rate * start) - Math.exp(-it.rate * end));
        const curve = fitOf({ law: [it.law, 1], initial_rate: { middle: it.plateau * it.rate }, lost: { middle: lost / it.scale }, scale: it.scale, series: { readings } });
        return it.doses.map((dose, i) => [curve(dose), readings[i].value]);"""
    told = {"doses": [0, 1, 2, 4, 8], "level": 1.5, "plateau": 0.6, "rate": 0.4, "scale": 0.8, "law": "first_order"}
    for curve, value in reckon(page, code, told):
        assert abs(curve - value) < 1e-6, (curve, value)


def insides(page):
    code = "const { isInside } = await load('map-hand'); return it.points.map(([x, y]) => isInside(it.polygon, x, y));"
    dart = [[0, 0], [10, 0], [10, 10], [5, 2]]
    assert reckon(page, code, {"polygon": dart, "points": [[9, 5], [5, 5], [5, 1], [-1, 0]]}) == [True, False, True, False]


def answers(page):
    """An answer of another generation or revision is not taken."""
    code = """const { isOf } = await load("api");
        return it.map(([generation, revision, etag]) => isOf({ generation, revision, etag }, 7, "ab-3"));"""
    told = [[7, "ab-3", None], [6, "ab-3", None], [7, "ab-2", None], [None, None, '"ab-3-phase"'], [None, None, 'W/"ab-3-phase"'], [None, None, '"ab-31-phase"'], [None, None, None]]
    assert reckon(page, code, told) == [True, False, False, True, True, False, True]


def latest(page):
    """One request at a time, and the last wish is always done."""
    code = """const { Latest } = await load("api"); const latest = new Latest();
        const done = []; let busy = 0, most = 0; const gates = [];
        const job = (name) => async () => { busy += 1; most = Math.max(most, busy); await new Promise((open) => gates.push(open)); busy -= 1; done.push(name); };
        for (const name of ["a", "b", "c", "d"]) latest.ask(job(name));
        while (done.length < 2) { gates.shift()?.(); await new Promise((on) => setTimeout(on, 0)); }
        return [done, most];"""
    assert reckon(page, code) == [["a", "d"], 1]


def outlines(page):
    """Which particle a pixel belongs to: not one in whose hole it is, nor one that only goes round it."""
    ring = {"id": 7, "centre_px": [1, 1], "outline": [[[0, 0], [3, 0], [3, 3], [0, 3]], [[1, 1], [1, 2], [2, 2], [2, 1]]]}
    grain = {"id": 3, "centre_px": [1, 1], "outline": [[[1, 1], [2, 1], [2, 2], [1, 2]]]}
    code = """const { MapOutlines } = await load("map-outlines"); const outlines = new MapOutlines(); outlines.set(it);
        return [[[0, 0], [1, 1], [2, 1], [3, 1], [1, -1]].map(([x, y]) => outlines.at(x + 0.5, y + 0.5)), outlines.middleOf(7)];"""
    # The centre of a ring is not in it: its number stands in its first pixel.
    assert reckon(page, code, [ring, grain]) == [[7, 3, 7, None, None], [0.5, 0.5]]
    assert reckon(page, code, [grain, {"id": 9, "centre_px": [0, 0]}]) == [[None, 3, None, None, None], None]


def forbidden(chromium):
    """What the content security policy keeps out; in a page of its own, since the console tells of it."""
    with screen(chromium, told["base"]) as page:
        page.open()
        page.dataset(connection="open")
        done = page.page.evaluate("""async () => {
            const done = [];
            await fetch("http://127.0.0.1:9/").then(() => done.push("fetch"), () => {});
            const script = Object.assign(document.createElement("script"), { textContent: "window.intruder = true" });
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.intruder = true'>");
            await new Promise((loaded) => { const image = new Image(); image.onload = () => done.push("image"); image.onerror = loaded; image.src = "http://127.0.0.1:9/image.png"; });
            return [done, window.intruder ?? false];
        }""")
        assert done == [[], False], done
        page.see("all violations", "() => ['connect-src', 'script-src', 'img-src'].every((part) => window.violations.some((one) => one.includes(part)))")
        page.page.evaluate("() => { window.violations = []; }")
        page.expected = ["Content Security Policy", "404", "violates"]
        page.requests = [url for url in page.requests if not url.startswith("http://127.0.0.1:9/")]


with browser() as chromium:
    with screen(chromium, told["base"]) as page:
        page.open("#/system")
        page.dataset(view="system", connection="open")
        for name in told["modules"]:
            kind = reckon(page, "return typeof (await import(`/static/${it}`));", name)
            assert kind == "object", name
        for check in [events, pace, colours, fits, insides, outlines, answers, latest]:
            check(page)
    forbidden(chromium)
