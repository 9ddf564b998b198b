"""A sender that loses messages and sends them again when asked, written from the description of stxm-stream/1 alone.

Usage: check_resend.py SOURCE_ADDRESS SCAN_ID. Sends a scan of which every third message, the last lines among them, is
lost on the way, and serves requests until all of them were asked for. Exits 1 where a request breaks the protocol or
asks for what has come. Needs pyzmq.
"""

import json
import struct
import sys
from datetime import datetime, timezone

import zmq

PATIENCE_MS = 40_000
NY, NX = 4, 6
ENERGIES = [508.0, 511.0, 514.0, 515.5, 517.0, 518.5, 521.0, 526.0]


def messages(scan_id, resend):
    """All messages of the scan, in the order of their seq."""

    def message(type, *payload, **fields):
        header = {"stream": "stxm-stream/1", "type": type, "scan_id": scan_id, "seq": len(made),
                  "time": datetime.now(timezone.utc).isoformat(), **fields}
        made.append([json.dumps(header).encode(), *payload])

    made = []
    axis = {"start": 0, "step": 0.05}
    message("scan_start", grid={"shape": [NY, NX], "x": axis, "y": axis}, energies_ev=ENERGIES, dwell_ms=1.0,
            detector={"counts_per_photon": 1.0}, simulated=True, resend=resend)
    for index in range(len(ENERGIES)):
        for row in range(NY):
            counts = [1000 + 10 * index + row + column for column in range(NX)]
            message("samples", struct.pack(f"<{NX}I", *counts), energy_index=index, first_pixel=row * NX, count=NX,
                    dtype="uint32", i0=2000.0)
    message("scan_end", status="complete")
    return made


def main(source, scan_id):
    context = zmq.Context()
    stream, rep = context.socket(zmq.PUSH), context.socket(zmq.REP)
    stream.connect(source)
    port = rep.bind_to_random_port("tcp://127.0.0.1")
    made = messages(scan_id, f"tcp://127.0.0.1:{port}")
    lost = {seq for seq in range(1, len(made) - 1) if seq % 3 == 1}
    for seq, message in enumerate(made):
        if seq not in lost:
            stream.send_multipart(message)
    total, asked = len(lost), []
    while lost:
        assert rep.poll(PATIENCE_MS), f"nobody asks for {sorted(lost)}"
        parts = rep.recv_multipart()
        assert len(parts) == 1, parts
        request = json.loads(parts[0])
        assert set(request) == {"scan_id", "seq"}, request
        assert request["scan_id"] == scan_id, request
        wanted = set()
        for first, last in request["seq"]:
            assert type(first) is int and type(last) is int and 0 <= first <= last <= 4294967294, request
            wanted |= {seq for seq in range(len(made)) if first <= seq <= last}
        assert wanted and wanted <= lost, f"{sorted(wanted - lost)} had come"
        asked.append(request["seq"])
        # The first time nothing arrives: it has to be asked for again.
        if len(asked) > 1:
            for seq in sorted(wanted):
                stream.send_multipart(made[seq])
            lost -= wanted
        rep.send(json.dumps({"sent": len(wanted)}).encode())
    print(f"{total} messages were lost and asked for in {len(asked)} requests")
    stream.close(linger=-1)
    # The last answer is to be out before the socket is gone.
    rep.close(linger=5000)
    context.term()


if __name__ == "__main__":
    main(*sys.argv[1:])
