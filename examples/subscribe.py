"""Prints every phase map as it comes: its generation, how far the scan is, and what is in it.

Usage: subscribe.py [ADDRESS], the daemon's [publish] bind. Needs pyzmq and pyarrow.
"""

import json
import sys

import pyarrow as pa
import pyarrow.compute as pc
import zmq

address = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5556"
socket = zmq.Context.instance().socket(zmq.SUB)
socket.connect(address)
socket.subscribe("phase_map/")
print(f"waiting for phase maps from {address}", flush=True)
while True:
    topic, header, body = socket.recv_multipart()
    header = json.loads(header)
    table = pa.ipc.open_stream(body).read_all()
    shares = {phase: f"{share:.1%}" for phase, share in header["fractions"].items()}
    statuses = {count["values"]: count["counts"] for count in pc.value_counts(table["status"].cast("string")).to_pylist()}
    print(f"{header['scan_id']}: generation {header['generation']}, "
          f"{header['energies_done']} of {header['energies_total']} energies", flush=True)
    print(f"  phases   {shares}", flush=True)
    print(f"  statuses {statuses}", flush=True)
