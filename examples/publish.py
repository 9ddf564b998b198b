"""Publishes a small scan over stxm-stream/1: publish.py ADDRESS SCAN_ID. Needs pyzmq and numpy."""
import json, pathlib, sys
from datetime import datetime, timezone
import numpy as np, zmq

energies_ev = np.array([508, 511, 513.5, 515, 516, 517, 518, 519, 521, 524, 528, 532])
files = sorted((pathlib.Path(__file__).parent.parent / "config/references/nvpf").glob("*.csv"))
spectra = [np.loadtxt(file, delimiter=",", comments=["#", "energy"]).T for file in files]
stripes = np.array([0 * energies_ev] + [np.interp(energies_ev, e, od) for e, od in spectra])  # the first is empty field
counts = np.random.default_rng(1).poisson(20_000 * np.exp(-np.repeat(stripes, 3, axis=0).T[:, None, :].repeat(12, axis=1)))
socket, seq = zmq.Context().socket(zmq.PUSH), 0
socket.connect(sys.argv[1])

def send(kind, *payload, **fields):
    global seq
    header = {"stream": "stxm-stream/1", "type": kind, "scan_id": sys.argv[2], "seq": seq, **fields}
    socket.send_multipart([json.dumps(header | {"time": datetime.now(timezone.utc).isoformat()}).encode(), *payload])
    seq += 1

axis, (ny, nx) = {"start": 0.0, "step": 0.05}, counts.shape[1:]
send("scan_start", grid={"shape": [ny, nx], "x": axis, "y": axis}, energies_ev=energies_ev.tolist(), dwell_ms=1.0,
     detector={"counts_per_photon": 1.0}, simulated=True)
for e, y in np.ndindex(len(energies_ev), ny):
    send("samples", counts[e, y].astype("<u2").tobytes(), energy_index=e, first_pixel=y * nx, count=nx, dtype="uint16", i0=20_000)
send("scan_end", status="complete")
