"""Opens a scan.nxs of the archive with h5py and with Mantis' own reader, and compares both with stack.parquet.

usage: check_nexus.py FOLDER
"""

import datetime
import json
import pathlib
import sys

import h5py
import numpy as np
import pyarrow.parquet

from mantis_xray import file_plugins
from mantis_xray.analysis import data_stack, data_struct

folder = pathlib.Path(sys.argv[1])
path = str(folder / "scan.nxs")
manifest = json.loads((folder / "manifest.json").read_text())
plan = manifest["plan"]
ny, nx = plan["grid"]["shape"]
energies = len(plan["energies_ev"])


def cube(column):
    """A column of stack.parquet as energy, row, column."""
    table = pyarrow.parquet.read_table(folder / "stack.parquet")
    lists = [value or [None] * energies for value in table[column].to_pylist()]
    return np.array(lists, dtype="f4").T.reshape(energies, ny, nx)


def moment(dataset):
    """A time of the file."""
    return datetime.datetime.fromisoformat(dataset.asstr()[()].replace("Z", "+00:00"))


counts, i0 = cube("counts"), cube("i0")
assert "scan.nxs" in manifest["files"]

with h5py.File(path) as file:
    assert file.attrs["default"] == "entry" and file["entry"].attrs["NX_class"] == "NXentry"
    entry, data = file["entry"], file["entry/data"]
    np.testing.assert_array_equal(data["data"][()], counts)
    assert entry["instrument/detector/data"] == data["data"], "one dataset under two names"
    assert entry["definition"][0] == b"NXstxm" and data["stxm_scan_type"][0] == b"sample image stack"
    assert list(data.attrs["axes"]) == [b"energy", b"sample_y", b"sample_x"] and data.attrs["signal"] == "data"
    np.testing.assert_array_equal(data["energy"][()], plan["energies_ev"])
    np.testing.assert_allclose(1000 * data["count_time"][()], plan["dwell_ms"])
    for axis, length in [("x", nx), ("y", ny)]:
        start, step = plan["grid"][axis]["start"], plan["grid"][axis]["step"]
        np.testing.assert_allclose(data[f"sample_{axis}"][()], start + step * np.arange(length))
        assert data[f"sample_{axis}"].attrs["units"] == plan["grid"]["unit"]
    np.testing.assert_array_equal(entry["control/data"][()], i0)
    assert entry["control"].attrs["NX_class"] == "NXmonitor"
    assert plan["scan_id"] in entry["title"].asstr()[()]
    assert entry["instrument/name"].asstr()[()] == plan["beamline"]
    assert entry["start_time"].asstr()[()][:19] == plan["started"][:19]
    assert moment(entry["end_time"]) > moment(entry["start_time"])
    assert bool(entry["phasewatch/simulated"][()]) == plan["simulated"]
    assert entry["phasewatch/version"].asstr()[()] == manifest["versions"]["phasewatch"]
    assert json.loads(entry["phasewatch/plan"].asstr()[()]) == plan

plugin = file_plugins.identify(path)
assert plugin is not None and plugin.title == "NXstxm", plugin
structure = file_plugins.GetFileStructure(path)["entry"]
assert (structure.definition, structure.scan_type) == ("NXstxm", "sample image stack")
assert structure.data_shape == (energies, ny, nx) and list(structure.norm_data) == ["control"]
for normalisation, wanted in [(0, counts), (1, counts / (i0 / np.nanmedian(i0)))]:
    stack = data_stack.data(data_struct.h5())
    stack.new_data()
    # Entry, detector, and what to divide by: nothing, then the monitor.
    file_plugins.load(path, stack, selection=[(0, 0, normalisation)])
    assert (stack.n_cols, stack.n_rows, stack.n_ev) == (nx, ny, energies)
    np.testing.assert_array_equal(stack.ev, plan["energies_ev"])
    np.testing.assert_allclose(stack.absdata, wanted.transpose(2, 1, 0), rtol=1e-5)
print("Mantis and h5py read", stack.absdata.shape)
