"""Pickles as CPython and numpy write them, for the tests of the reader: write_pickles.py DIR NAME."""

import asyncio
import collections
import pickle
import sys
from pathlib import Path

import numpy as np


def sample():
    line = np.arange(6, dtype=np.float64) + 0.5
    image = np.arange(24, dtype=np.float64).reshape(4, 6)
    return {
        "none": None,
        "yes": True,
        "no": False,
        "ints": [0, 255, 65535, -1, 2**31 - 1, -(2**31), 2**40, -(2**63), 2**80],
        "float": 515.25,
        "text": "Na₃V₂ \U0001f52c",
        "long": "x" * 300,
        "bytes": b"\x00\xff",
        "tuple": (1, (2, 3), (4, 5, 6), (7, 8, 9, 10), ()),
        "set": {1},
        "ordered": collections.OrderedDict(a=1),
        "deque": collections.deque([1, 2]),
        "synch_event": asyncio.Event(),
        "line": line,
        "image": image,
        "fortran": np.asfortranarray(image),
        "big": image.astype(">u2"),
        "small": image.astype("<i4"),
        "single": image.astype(np.float32),
        "half": image.astype(np.float16),
        "bits": image > 11,
        "strided": image[::2, ::3],
        "empty": np.zeros((0, 6)),
        "cube": np.asfortranarray(np.arange(24).reshape(2, 3, 4)),
        "zero_dimensional": np.array(3.0),
        "scalar": np.float64(2.5),
        "scalar_int": np.int32(-7),
        "scalar_bool": np.bool_(True),
        "objects": np.array([{}, None], dtype=object),
        "complex": np.array([1j]),
        "same": [line, line],
    }


if __name__ == "__main__":
    folder, name = Path(sys.argv[1]), sys.argv[2]
    for protocol in range(2, 6):
        (folder / f"{name}-protocol{protocol}.pickle").write_bytes(pickle.dumps(sample(), protocol))
