"""Measures the screen with a map of 512 x 512 pixels: how soon it is shown, how it moves, what ten browsers cost the daemon.

Run by scripts/screen-report.sh. Every number is as it was measured, with whatever else the machine did.
"""

import http.client
import os
import statistics
import time

from screen import beamline, browser, facts, screen

told = facts()
BROWSERS = 10
SPEED = "70"
TICK = os.sysconf("SC_CLK_TCK")

# Notes when each generation was painted, by the clock that the daemon has, too.
WATCH = """() => {
    window.painted = [];
    new MutationObserver(() => {
        const { generation, shownMs } = document.body.dataset;
        if (window.painted.at(-1)?.generation !== generation) window.painted.push({ generation, shownMs: Number(shownMs), at: Date.now() });
    }).observe(document.body, { attributes: true, attributeFilter: ["data-generation"] });
    window.draws = 0;
    const clear = CanvasRenderingContext2D.prototype.clearRect;
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        if (this.canvas.classList.contains("map-canvas")) window.draws += 1;
        return clear.apply(this, box);
    };
}"""


def used(pid):
    """Processor time so far, s: of all threads, and by the names of threads."""
    names = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            stat = open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8").read()
        except FileNotFoundError:
            continue
        name = stat[stat.index("(") + 1:stat.rindex(")")].rstrip("0123456789-#")
        fields = stat[stat.rindex(")") + 2:].split()
        names[name] = names.get(name, 0) + (int(fields[11]) + int(fields[12])) / TICK
    fields = open(f"/proc/{pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK, names


def family():
    """Processor time so far of all processes that this one has started, and theirs: the browser, s."""
    parents, times = {}, {}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{process}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(process)], times[int(process)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK
    mine, grown = {os.getpid()}, True
    while grown:
        grown = {process for process, parent in parents.items() if parent in mine} - mine
        mine |= grown
    return sum(times.get(process, 0) for process in mine - {os.getpid()})


def spread(values, unit):
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, int(share * len(values)))]
    return f"median {statistics.median(values):.0f} {unit}, nine of ten within {at(0.9):.0f}, most {values[-1]:.0f} ({len(values)} values)"


def panned(page, seconds):
    """Draws while the map is dragged, in words."""
    box = page.page.locator(".map-canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = page.page.mouse
    mouse.move(x, y)
    mouse.wheel(0, -400)
    mouse.down()
    start, spent = time.monotonic(), family()
    before = page.page.evaluate("() => window.draws")
    step = 0
    while time.monotonic() < start + seconds:
        step += 1
        mouse.move(x + 100 * ((step % 80) / 40 - 1) * (1 if (step // 80) % 2 else -1), y + step % 40)
    draws = page.page.evaluate("() => window.draws") - before
    took, spent = time.monotonic() - start, family() - spent
    mouse.up()
    page.page.keyboard.press("m")
    page.page.keyboard.press("0")
    return f"{draws / took:.1f} draws/s, {1000 * spent / max(1, draws):.0f} ms of processor time of the browser (all its processes) for each"


def shown(chromium):
    """How soon a generation is painted."""
    with screen(chromium, told["base"]) as page:
        page.expected = ["404"]
        page.open()
        page.dataset(connection="open")
        page.page.evaluate(WATCH)
        beamline(f"send {told['scenario']} shown {SPEED}")
        page.dataset(scan="shown")
        # The first energies are another matter: there is no map of all pixels yet.
        page.see("20 generations", "() => window.painted.length >= 20")
        while page.page.evaluate("() => window.painted.length") < 60 and page.page.evaluate("() => document.body.dataset.state") == "running":
            page.page.wait_for_timeout(500)
        painted = page.page.evaluate("() => window.painted")[2:]
        # Panning while maps go on coming.
        moving = panned(page, 6)
        points = {str(point["generation"]): point for point in page.json("/api/v1/scans/shown/trend.json")["points"]}
        since = []
        for one in painted:
            point = points.get(one["generation"])
            if point:
                since.append(one["at"] - page.page.evaluate("(time) => Date.parse(time)", point["time"]))
        print("from the event to painted:", spread([one["shownMs"] for one in painted if one["shownMs"] == one["shownMs"]], "ms"))
        print("from the making of the map to painted:", spread(since, "ms"))
        gaps = [later["at"] - earlier["at"] for earlier, later in zip(painted, painted[1:])]
        print("between two maps:", spread(gaps, "ms"))
        print(f"panning while maps come: {moving}")
        beamline("stop")
        print(f"panning while none come: {panned(page, 6)}")
        page.page.click('[data-test="layers"] [data-layer="confidence"]')
        page.dataset(layer="confidence")
        print(f"the same with a layer of numbers: {panned(page, 6)}")


def requests(scan):
    """What one answer costs the daemon when nothing else is asked of it; what is kept is asked for again and again."""
    host = told["base"].removeprefix("http://")
    line = http.client.HTTPConnection(host)
    times = {}
    for name in ["view.json", "layers/phase.bin", "layers/status.bin", "trend.json", "damage.json", "latent.json?limit=4000"]:
        def ask():
            line.request("GET", f"/api/v1/scans/{scan}/{name}")
            return len(line.getresponse().read())
        size, before = ask(), used(told["pid"])[0]
        for _ in range(200):
            ask()
        times[f"{name} ({size / 1000:.0f} kB)"] = 1000 * (used(told["pid"])[0] - before) / 200
    print("processor time of the daemon for an answer, ms:", ", ".join(f"{name} {value:.1f}" for name, value in times.items()))


def generation(page, scan):
    return page.json(f"/api/v1/scans/{scan}")["generation"]


def interval(page, scan, seconds):
    """Processor time per generation and per second."""
    before, names, first, start = *used(told["pid"]), generation(page, scan), time.monotonic()
    page.page.wait_for_timeout(1000 * seconds)
    after, later, last = *used(told["pid"]), generation(page, scan)
    took = time.monotonic() - start
    by_name = {name: (later[name] - names.get(name, 0)) / took for name in later}
    return (after - before) / took, by_name, (last - first) / took


def cost(chromium):
    """What ten browsers cost the daemon."""
    with screen(chromium, told["base"]) as page:
        page.open("#/system")
        page.dataset(connection="open")
        beamline(f"send {told['scenario']} cost {SPEED}")
        page.see("maps", "async () => (await (await fetch('/api/v1/scans')).json()).some((scan) => scan.scan_id === 'cost' && scan.generation > 3)")
        runs = [("none", *interval(page, "cost", 40))]
        contexts = [chromium.new_context(viewport={"width": 1440, "height": 1000}) for _ in range(BROWSERS)]
        pages = [context.new_page() for context in contexts]
        for one in pages:
            one.goto(f"{told['base']}/#/live/cost")
        for one in pages:
            one.wait_for_selector('[data-test="map-canvas"]')
        page.page.wait_for_timeout(5000)
        seen = [int(one.evaluate("() => document.body.dataset.generation")) for one in pages]
        runs.append((f"{BROWSERS}", *interval(page, "cost", 60)))
        later = [int(one.evaluate("() => document.body.dataset.generation")) for one in pages]
        for context in contexts:
            context.close()
        runs.append(("none", *interval(page, "cost", 40)))
        beamline("stop")
        page.page.wait_for_timeout(5000)
        requests("cost")
        for name, total, by_name, rate in runs:
            threads = ", ".join(f"{thread} {100 * share:.1f} %" for thread, share in sorted(by_name.items(), key=lambda item: -item[1]) if share > 0.002)
            print(f"browsers {name}: {100 * total:.1f} % of a core, {rate:.2f} maps/s ({threads})")
        print("generations that each browser went through:", [b - a for a, b in zip(seen, later)])
        none = [run for run in runs if run[0] == "none"]
        without = statistics.mean(run[1] for run in none)
        by_map = lambda run: run[1] / run[3] if run[3] else float("nan")
        print(f"processor time per map: {by_map(runs[1]):.2f} s with browsers, {statistics.mean(map(by_map, none)):.2f} s without")
        print(f"per browser: {100 * (runs[1][1] - without) / BROWSERS:.2f} % of a core in all")
        # Maps are made by threads of their own; what serves is known by its name.
        serving = lambda run: sum(share for thread, share in run[2].items() if thread.startswith("tokio"))
        print(f"per browser, threads that serve alone: {100 * (serving(runs[1]) - statistics.mean(map(serving, none))) / BROWSERS:.2f} % of a core")


with browser() as chromium:
    print(f"chromium {chromium.version}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    shown(chromium)
    cost(chromium)
    print(f"load {os.getloadavg()[0]:.1f} at the end")
