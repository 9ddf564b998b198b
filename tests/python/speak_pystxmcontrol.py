"""Publishes a small scan as pystxmcontrol does, with CPython's own pickles: speak_pystxmcontrol.py PROTOCOL.

Prints where it is bound, waits for a subscriber, and sends. A line is missed (zeros), another message is lost; the image heals the latter.
"""

import asyncio
import pickle
import sys

import numpy as np
import zmq

NY, NX, ENERGIES = 4, 5, 6

protocol = int(sys.argv[1])
socket = zmq.Context().socket(zmq.XPUB)
port = socket.bind_to_random_port("tcp://127.0.0.1")
print(f"tcp://127.0.0.1:{port}", flush=True)
socket.recv()


def send(message):
    socket.send(pickle.dumps(message, protocol))


scan = {
    "scan_regions": {
        "Region1": {
            "xStart": -0.2, "xStop": 0.2, "xPoints": NX, "xStep": 0.1,
            "yStart": 0.15, "yStop": -0.15, "yPoints": NY, "yStep": np.float64(0.1),
        }
    },
    "energy_regions": {
        "EnergyRegion1": {"dwell": 1.5, "start": 510.0, "stop": 516.0, "step": 2.0, "n_energies": 4},
        "EnergyRegion2": {"dwell": np.float32(2.5), "start": 518.0, "stop": 523.0, "step": 5.0, "n_energies": np.int64(2)},
    },
    "sample": "from Python",
    "proposal": "P-1",
    "file_name": "NS_1.stxm",
    "start_time": "2026-05-04 03:02:01.500000",
    "synch_event": asyncio.Event(),
}
send({"mode": "monitor", "type": "monitor", "data": {"default": np.zeros(3)}})
energies = [510.0, 512.0, 514.0, 516.0, 518.0, 523.0]
for index, energy in enumerate(energies):
    image = np.zeros((NY, NX), order="F" if index % 2 else "C", dtype=">f4" if index % 3 else "<f8")
    for row in range(NY):
        if (index, row) != (3, 1):
            image[row] = 1000 * (index + 1) + 10 * row + np.arange(NX)
        if (index, row) == (2, 2):
            continue
        send(
            {
                "scan": scan,
                "type": "Image",
                "mode": "continuousLine",
                "energy": np.float64(energy + 0.01),
                "energyIndex": index,
                "dwell": 1.5,
                "scanRegion": "Region1",
                "lineIndex": row,
                "index": row * NX,
                "xPoints": NX,
                "yPoints": NY,
                "data": {"default": image[row].copy()},
                "image": {"default": image},
                "scanID": "/data/2026/NS_1.stxm",
            }
        )
send("scan_complete")
# Until the receiver is gone: what lies in the buffers is delivered.
socket.recv()
