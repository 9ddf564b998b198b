"""Reads an archive and draws two of its findings again: what each particle holds, and doubt near boundaries.

Usage: findings.py ARCHIVE [FOLDER]. Needs polars and pyarrow; draws with matplotlib where it is there, else writes SVG.
"""

# %% Where things are
import html
import json
import pathlib
import sys

import polars as pl
import pyarrow.parquet as pq

archive = pathlib.Path(sys.argv[1])
out = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ".")
out.mkdir(parents=True, exist_ok=True)
# An archive, or the folder of one scan; what was moved into the quarantine is left where it is.
tables = sorted(path for path in archive.glob("**/particles.parquet")
                if "quarantine" not in path.parts and path.with_name("manifest.json").exists())
if not tables:
    sys.exit(f"no particles.parquet below {archive}")

# %% Particles of all scans: dictionaries become plain strings, so that scans with different ones stack
particles = pl.concat(
    [pl.read_parquet(path).with_columns(pl.col("scan_id").cast(pl.String)).drop("beamline", "pixel") for path in tables]
)
phases = json.loads(pq.read_schema(tables[0]).metadata[b"phasewatch.phases"])
shares = particles.select(
    "scan_id", "particle", "area_um2", "state_low", "state", "state_high",
    *[pl.col("shares").list.get(i, null_on_oob=True).alias(phase) for i, phase in enumerate(phases)],
)
shares.write_csv(out / "particles.csv")
print(shares)

# %% Doubt against the distance from boundaries between phases
rows = []
for path in tables:
    text = path.with_name("findings.json")
    findings = json.loads(text.read_text()) if text.exists() else {}
    near = (findings.get("boundaries") or {}).get("between_phases") or {}
    for at in near.get("by_distance", []):
        if at["ratio"]:
            rows.append({"scan_id": findings["scan_id"], "distance_px": (at["from_px"] + at["to_px"]) / 2, **at["ratio"]})
doubt = pl.DataFrame(rows, schema={"scan_id": pl.String, "distance_px": pl.Float64, "low": pl.Float64,
                                   "middle": pl.Float64, "high": pl.Float64})
doubt.write_csv(out / "boundaries.csv")
print(doubt)


# %% Two figures
def figure(name, title, xlabel, ylabel, points):
    """Points are (x, y, low, high)."""
    try:
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return svg(name, title, xlabel, ylabel, points)
    fig, axes = pyplot.subplots(figsize=(6, 4))
    for x, y, low, high in points:
        axes.plot([x, x], [low, high], color="#0072b2", linewidth=1)
        axes.plot([x], [y], "o", color="#0072b2", markersize=4)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    fig.savefig(out / f"{name}.svg")
    return out / f"{name}.svg"


def svg(name, title, xlabel, ylabel, points):
    """The same by hand."""
    xs, ys = [p[0] for p in points] or [0, 1], [v for p in points for v in p[1:]] or [0, 1]
    left, wide = min(xs), (max(xs) - min(xs)) or 1
    low, high = min(ys), (max(ys) - min(ys)) or 1
    px, py = (lambda x: 60 + 500 * (x - left) / wide), (lambda y: 350 - 290 * (y - low) / high)
    marks = "".join(
        f'<path d="M{px(x):.1f} {py(a):.1f}V{py(b):.1f}" stroke="#0072b2"/><circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3" fill="#0072b2"/>'
        for x, y, a, b in points)
    words = [(310, 24, title), (310, 390, xlabel), (310, 42, f"{ylabel}: {min(ys):.3g} to {max(ys):.3g}")]
    words = "".join(f'<text x="{x}" y="{y}" text-anchor="middle">{html.escape(word)}</text>' for x, y, word in words)
    path = out / f"{name}.svg"
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 400" font-family="sans-serif" font-size="13">'
                    f'<rect width="620" height="400" fill="white"/><path d="M60 60V350H560" fill="none" stroke="black"/>{marks}{words}</svg>\n')
    return path


states = particles.drop_nulls("state").sort("state")
points = [(i + 1, *row) for i, row in enumerate(states.select("state", "state_low", "state_high").iter_rows())]
label = "mean state with 90 %"
if not points:
    # References without a state variable: the share of the first phase instead.
    label = f"share of {phases[0]}"
    first = particles.filter(pl.col("shares").list.len() > 0)
    values = zip(first["shares"].list.get(0), first["share_errors"].list.get(0))
    points = [(i + 1, s, s - 1.645 * e, s + 1.645 * e) for i, (s, e) in enumerate(sorted(values))]
print(figure("particles", "What each particle holds", "particle, in order", label, points))
points = [(row["distance_px"], row["middle"], row["low"], row["high"]) for row in doubt.iter_rows(named=True)]
print(figure("boundaries", "Doubt near boundaries", "distance, pixels", "times as likely as elsewhere", points))
