"""Publishes a small scan over stxm-stream/1, as a microscope would.

Usage: publish.py ADDRESS [SCAN_ID], where ADDRESS is what the daemon's [[source]] binds. Needs pyzmq and numpy.
"""

import json
import pathlib
import sys
from datetime import datetime, timezone

import numpy as np
import zmq

REFERENCES = pathlib.Path(__file__).parent.parent / "config/references/nvpf"
ENERGIES_EV = [508.0, 511.0, 513.5, 515.0, 516.0, 517.0, 518.0, 519.0, 521.0, 524.0, 528.0, 532.0]


def frames(shape, i0, rng):
    """Counts of every energy: a stripe of each phase, and an empty stripe at the left."""
    spectra = [np.zeros(len(ENERGIES_EV))]
    for path in sorted(REFERENCES.glob("*.csv")):
        energy_ev, od = np.loadtxt((row for row in path.open() if row[0].isdigit()), delimiter=",").T
        spectra.append(np.interp(ENERGIES_EV, energy_ev, od))
    stripe = np.arange(shape[1]) * len(spectra) // shape[1]
    od = np.array(spectra).T[:, None, stripe]
    return rng.poisson(i0 * np.exp(-od) * np.ones((1, shape[0], 1)))


def publish(address, scan_id, shape=(12, 18), i0=20_000):
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(address)
        common = {"stream": "stxm-stream/1", "scan_id": scan_id, "time": datetime.now(timezone.utc).isoformat()}
        axis = {"start": 0.0, "step": 0.05}
        messages = [({"type": "scan_start", "grid": {"shape": shape, "x": axis, "y": axis}, "dwell_ms": 1.0,
                      "energies_ev": ENERGIES_EV, "detector": {"counts_per_photon": 1.0}, "simulated": True},)]
        for energy, image in enumerate(frames(shape, i0, np.random.default_rng(1))):
            for row, line in enumerate(image):
                header = {"type": "samples", "energy_index": energy, "first_pixel": row * shape[1],
                          "count": shape[1], "dtype": "uint16", "i0": i0}
                messages.append((header, line.astype("<u2").tobytes()))
        messages.append(({"type": "scan_end", "status": "complete"},))
        for seq, (header, *payload) in enumerate(messages):
            socket.send_multipart([json.dumps(common | header | {"seq": seq}).encode(), *payload])


if __name__ == "__main__":
    publish(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else f"example-{datetime.now():%Y%m%d-%H%M%S}")
