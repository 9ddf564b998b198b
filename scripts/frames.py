"""Sums compressed frames as one does in Python: `bitshuffle` and numpy. `benches/report.rs` asks, line by line:

load FRAMES MASK HEIGHT WIDTH BYTES   -> sum of the first frame under the mask, and the fastest way to sum
sum FIRST END                         -> seconds that these frames take
"""

import struct
import sys
import time

import bitshuffle
import numpy as np

WAYS = {
    "frame[mask].sum()": lambda frame, mask: frame[mask].sum(dtype=np.uint64),
    "frame[indices].sum()": lambda frame, mask: frame.ravel()[mask].sum(dtype=np.uint64),
    "sum(where=mask)": lambda frame, mask: frame.sum(where=mask, dtype=np.uint64),
    "(frame * mask).sum()": lambda frame, mask: (frame * mask).sum(dtype=np.uint64),
}


class Frames:
    def __init__(self, frames, mask, height, width, size):
        self.shape, self.dtype = (height, width), np.dtype(f"<u{size}")
        data, self.packed, at = open(frames, "rb").read(), [], 0
        while at < len(data):
            (length,) = struct.unpack_from("<I", data, at)
            self.packed.append(np.frombuffer(data, np.uint8, length, at + 4))
            at += 4 + length
        inside = np.fromfile(mask, np.uint8).reshape(self.shape).astype(bool)
        self.masks = {
            "frame[mask].sum()": inside,
            "frame[indices].sum()": np.flatnonzero(inside),
            "sum(where=mask)": inside,
            "(frame * mask).sum()": inside.astype(self.dtype),
        }
        self.way = min(WAYS, key=self.tried)

    def decoded(self, packed):
        block = int.from_bytes(packed[8:12].tobytes(), "big") // self.dtype.itemsize
        return bitshuffle.decompress_lz4(packed[12:], self.shape, self.dtype, block)

    def sum(self, way, packed):
        return int(WAYS[way](self.decoded(packed), self.masks[way]))

    def tried(self, way):
        frame, times = self.decoded(self.packed[0]), []
        for _ in range(20):
            start = time.perf_counter()
            WAYS[way](frame, self.masks[way])
            times.append(time.perf_counter() - start)
        return min(times)

    def timed(self, first, end):
        start = time.perf_counter()
        for packed in self.packed[first:end]:
            self.sum(self.way, packed)
        return time.perf_counter() - start


def main():
    frames = None
    for line in sys.stdin:
        what, *words = line.split()
        if what == "load":
            frames = Frames(words[0], words[1], *map(int, words[2:]))
            print(frames.sum(frames.way, frames.packed[0]), frames.way, flush=True)
        else:
            print(frames.timed(*map(int, words)), flush=True)


main()
