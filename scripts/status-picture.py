#!/usr/bin/env python3
"""Draws docs/statuses.png: a simulated scan in which every status occurs, and what the map says of each.

Usage: status-picture.py PHASEWATCH OUT.png, in the repository. Needs numpy, pillow, pyarrow, pyzmq. The scan goes through a daemon of its own.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow.parquet as pq
import zmq
from PIL import Image, ImageDraw, ImageFont

PHASEWATCH, OUT = sys.argv[1:3]
REFERENCES = pathlib.Path("config/references/nvpf").resolve()
ENERGIES_EV = np.array([508, 510, 512, 513.5, 514, 514.5, 515, 515.5, 516, 516.5, 517, 517.5, 518, 518.5, 519, 521, 522.5, 524, 525, 528.0])
SIDE, PHOTONS, COLUMNS = 18, 4000, 4


def spectrum(phase):
    energy, od = np.loadtxt(REFERENCES / f"{phase}.csv", delimiter=",", comments=["#", "energy"]).T
    return np.interp(ENERGIES_EV, energy, od)


def foreign():
    """An edge with a peak where no reference has one."""
    return 0.25 + 0.25 / (1 + np.exp(-(ENERGIES_EV - 519.5) / 0.3)) + 0.9 * np.exp(-((ENERGIES_EV - 514.6) / 0.5) ** 2)


# What each square is made of, and what is said beside it.
SQUARES = [
    ("empty field", 0 * ENERGIES_EV),
    ("x = 2.0 alone", spectrum("na2.0")),
    ("x = 3.0 and x < 1, half each", 0.5 * spectrum("na3.0") + 0.5 * spectrum("na1minus")),
    ("40 % x = 3.0, 60 % x = 2.0", 0.4 * spectrum("na3.0") + 0.6 * spectrum("na2.0")),
    ("in no reference", foreign()),
    ("x = 2.4, a seventh as thick", spectrum("na2.4") / 7),
    ("x = 2.0, six times as thick", 6 * spectrum("na2.0")),
    ("lines that never came", None),
]
COLOURS = {
    "unmeasured": "#ffffff", "background": "#d9d9d9", "saturated": "#222222", "classified": "#009e73",
    "mixture": "#e69f00", "unknown": "#cc79a7", "ambiguous": "#56b4e9",
}


def scan():
    """Optical densities by energy, row and column, with a margin of empty field; NaN where nothing is sent."""
    rows = -(-len(SQUARES) // COLUMNS)
    od = np.zeros((len(ENERGIES_EV), rows * (SIDE + 4) + 4, COLUMNS * (SIDE + 4) + 4))
    for number, (_, values) in enumerate(SQUARES):
        y, x = (4 + (SIDE + 4) * place for place in divmod(number, COLUMNS))
        od[:, y:y + SIDE, x:x + SIDE] = np.nan if values is None else values[:, None, None]
    return od


def publish(address, od):
    socket, seq = zmq.Context.instance().socket(zmq.PUSH), 0
    socket.connect(address)
    ny, nx = od.shape[1:]

    def send(kind, *payload, **fields):
        nonlocal seq
        header = {"stream": "stxm-stream/1", "type": kind, "scan_id": "statuses", "seq": seq, **fields}
        socket.send_multipart([json.dumps(header | {"time": "2026-01-01T00:00:00Z"}).encode(), *payload])
        seq += 1

    axis = {"start": 0.0, "step": 0.05}
    send("scan_start", grid={"shape": [ny, nx], "x": axis, "y": axis}, energies_ev=ENERGIES_EV.tolist(), dwell_ms=1.0,
         detector={"counts_per_photon": 1.0}, simulated=True)
    counts = np.random.default_rng(1).poisson(PHOTONS * np.exp(-np.nan_to_num(od)))
    for energy, row in np.ndindex(len(ENERGIES_EV), ny):
        for run in np.ma.clump_unmasked(np.ma.masked_invalid(od[energy, row])):
            values = counts[energy, row, run].astype("<u2")
            send("samples", values.tobytes(), energy_index=energy, first_pixel=int(row * nx + run.start), count=len(values),
                 dtype="uint16", i0=PHOTONS)
    send("scan_end", status="complete")


def mapped(od):
    """The archived map of the scan."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "phasewatch.toml").write_text(
            'source = [{ kind = "stxm-stream", bind = "tcp://127.0.0.1:0", grace_s = 0.5 }]\n'
            f'references.dir = "{REFERENCES}"\ndaemon.state_dir = "state"\narchive.root = "archive"\n'
            'http.listen = "127.0.0.1:0"\npublish.bind = "tcp://127.0.0.1:0"\nregistration.mode = "off"\n')
        daemon = subprocess.Popen([PHASEWATCH, "--log-format", "json", "run", "--config", folder / "phasewatch.toml"],
                                  stderr=subprocess.PIPE, text=True)
        try:
            for line in map(json.loads, daemon.stderr):
                if line["message"] == "listening to the beamline":
                    publish(line["address"], od)
                if line["message"] == "scan archived":
                    return pq.read_table(next(folder.glob("archive/**/phase_map.parquet")), partitioning=None).to_pydict()
        finally:
            daemon.kill()
    sys.exit("the daemon ended without archiving the scan")


def draw(od, table):
    scale, (ny, nx) = 9, od.shape[1:]
    image = Image.new("RGB", (nx * scale, ny * scale + 30 * len(SQUARES) + 50), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    status = np.array(table["status"]).reshape(ny, nx)
    for y, x in np.ndindex(ny, nx):
        pen.rectangle([x * scale, y * scale, x * scale + scale - 1, y * scale + scale - 1], fill=COLOURS[status[y, x]])
    for number, (made_of, _) in enumerate(SQUARES):
        row, column = (4 + (SIDE + 4) * place for place in divmod(number, COLUMNS))
        pen.rectangle([column * scale, row * scale, column * scale + 16, row * scale + 20], fill="white", outline="black")
        pen.text((column * scale + 4, row * scale + 1), str(number + 1), fill="black", font=font)
        inside = [y * nx + x for y in range(row, row + SIDE) for x in range(column, column + SIDE)]
        shares = {}
        for pixel in inside:
            what = table["status"][pixel]
            if what == "ambiguous":
                what += f" ({table['ambiguity'][pixel]})"
            shares[what] = shares.get(what, 0) + 1
        said = ", ".join(f"{what} {100 * count / len(inside):.0f} %" for what, count in sorted(shares.items(), key=lambda item: -item[1])[:3])
        pen.text((10, ny * scale + 8 + 26 * number), f"{number + 1}  {made_of}:  {said}", fill="black", font=font)
        print(f"{number + 1} {made_of}: {said}")
    x = 10
    for name, colour in COLOURS.items():
        y = ny * scale + 18 + 26 * len(SQUARES)
        pen.rectangle([x, y, x + 16, y + 16], fill=colour, outline="black")
        pen.text((x + 22, y - 1), name, fill="black", font=font)
        x += 34 + int(pen.textlength(name, font=font))
    image.quantize(64).save(OUT, optimize=True)


if __name__ == "__main__":
    densities = scan()
    draw(densities, mapped(densities))
