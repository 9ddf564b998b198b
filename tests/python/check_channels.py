"""Reads the channels of an archived area scan as anybody would, and compares them with the counts.

Usage: check_channels.py FOLDER. Needs numpy, pyarrow and duckdb.
"""

import json
import pathlib
import sys

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet

folder = pathlib.Path(sys.argv[1])
manifest = json.loads((folder / "manifest.json").read_text())
ny, nx = manifest["plan"]["grid"]["shape"]
energies = len(manifest["plan"]["energies_ev"])
height, width = manifest["plan"]["detector"]["frame_shape"]
assert manifest["channels"] == ["dark_field", "com_y", "com_x"], manifest["channels"]

table = pa.parquet.read_table(folder / "channels.parquet")
assert table.column_names == ["y", "x", "dark_field", "com_y", "com_x"], table.column_names
assert [str(kind) for kind in table.schema.types[:2]] == ["uint32", "uint32"]
assert all(pa.types.is_list(kind) and kind.value_type == pa.float32() for kind in table.schema.types[2:])
assert table["y"].to_pylist() == [pixel // nx for pixel in range(ny * nx)]


def stack(table, name):
    values = np.array(table[name].to_pylist(), dtype=float)
    assert values.shape == (ny * nx, energies), values.shape
    return values


counts = stack(pa.parquet.read_table(folder / "stack.parquet"), "counts")
dark_field, com_y, com_x = (stack(table, name) for name in ("dark_field", "com_y", "com_x"))
# The bright field is in the middle of the frame; the dark field has its upper left corner, where hardly anything is.
middle = [np.average(com, weights=np.maximum(counts, 1)) for com in (com_y, com_x)]
assert abs(middle[0] - (height - 1) / 2) < 0.2 and abs(middle[1] - (width - 1) / 2) < 0.2, middle
assert 0 <= dark_field.mean() < 0.1 * counts.mean(), (dark_field.mean(), counts.mean())
rows = duckdb.sql(f"SELECT count(*), max(len(com_x)) FROM '{folder}/channels.parquet'").fetchall()
assert rows == [(ny * nx, energies)], rows
print("ok")
