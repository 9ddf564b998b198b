"""Pushes a small scan as a DECTRIS detector does (second version of its stream), packed by the bitshuffle package and written by cbor2:
speak_dectris.py TYPE BLOCK, where TYPE is uint8, uint16 or uint32, and BLOCK the size of a block in values (0: what makes 8192 bytes).

Prints where it is bound and sends to whoever connects. One frame is corrupt, one comes twice, and one of another series strays in.
"""

import struct
import sys

import bitshuffle
import cbor2
import numpy as np
import zmq

NY, NX, ENERGIES, SHAPE = 2, 3, 3, (13, 11)
SATURATION = 200

dtype, block = np.dtype(sys.argv[1]), int(sys.argv[2])
tags = {"uint8": 64, "uint16": 69, "uint32": 70}
socket = zmq.Context().socket(zmq.PUSH)
port = socket.bind_to_random_port("tcp://127.0.0.1")
print(f"tcp://127.0.0.1:{port}", flush=True)


def packed(values):
    """The HDF5 filter's stream: total size, block size in bytes, blocks."""
    size = block or 8192 // values.itemsize
    body = bitshuffle.compress_lz4(np.ascontiguousarray(values.ravel()), size).tobytes()
    return struct.pack(">QI", values.nbytes, size * values.itemsize) + body


def array(values):
    bytes_ = cbor2.CBORTag(56500, ["bslz4", values.itemsize, packed(values)])
    return cbor2.CBORTag(40, [list(values.shape), cbor2.CBORTag(tags[values.dtype.name], bytes_)])


def send(**fields):
    socket.send(cbor2.dumps(cbor2.CBORTag(55799, fields)))


def frame(number):
    values = ((number + np.arange(SHAPE[0] * SHAPE[1])) % 7).astype(dtype).reshape(SHAPE)
    values.flat[5] = 150  # masked
    values.flat[9] = SATURATION
    values.flat[11] = np.iinfo(dtype).max  # no data
    return values


mask = np.zeros(SHAPE, "uint32")
mask.flat[5] = 8
series = {"series_id": 12, "series_unique_id": "01FROMPYTHON"}
scan = {
    "scan_id": "from-python",
    "sample": "from Python",
    "shape": [NY, NX],
    "x": {"start": 0.0, "step": 0.1},
    "y": {"start": 0.0, "step": -0.1},
    "energies_ev": [510.0, 515.0, 520.0],
}
send(
    type="start",
    **series,
    number_of_images=NY * NX * ENERGIES,
    image_size_x=SHAPE[1],
    image_size_y=SHAPE[0],
    image_dtype=dtype.name,
    channels=["threshold_1", "threshold_2"],
    pixel_mask={"threshold_1": array(mask)},
    pixel_mask_enabled=True,
    saturation_value=SATURATION,
    count_time=0.0015,
    frame_time=0.002,
    incident_energy=510.0,
    threshold_energy={"threshold_1": 250.0},
    countrate_correction_enabled=False,
    user_data={"stxm": scan, "by": ["anybody", 1, None, True]},
)


def image(number, data, series=series):
    send(
        type="image",
        **series,
        image_id=number,
        real_time=[1500000, 1000000000],
        start_time=[2000000 * number, 1000000000],
        stop_time=[2000000 * number + 1500000, 1000000000],
        user_data=None,
        data={"threshold_1": data, "threshold_2": array(np.ones(SHAPE, dtype))},
    )


for number in range(NY * NX * ENERGIES):
    data = array(frame(number))
    if number == 7:
        stream = bytearray(data.value[1].value.value[2])
        stream[12:16] = b"\xff\xff\xff\xff"
        data.value[1].value.value[2] = bytes(stream)
    image(number, data)
    if number == 4:
        image(number, data)
        image(0, data, {"series_id": 11, "series_unique_id": "01BEFORE"})
send(type="end", **series)
# Until the receiver is gone: what lies in the buffers is delivered.
sys.stdin.read()
