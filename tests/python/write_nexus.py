"""Writes NXstxm and Mantis files as others might, with h5py, and what is to be read from each: expected.json.

usage: write_nexus.py DIR
"""

import json
import pathlib
import sys

import h5py
import numpy as np

E, Y, X = 4, 3, 5
COUNTS = (np.arange(E * Y * X, dtype="f8").reshape(E, Y, X) + 100) / 4
ENERGIES = [700.0, 700.5, 701.0, 702.0]
CHUNK = (1, 2, 3)
expected = []
out = pathlib.Path(sys.argv[1])


def expect(name, **what):
    """Notes what is to be read from a file; by default all of the counts."""
    usual = {
        "counts": [None if np.isnan(v) else v for v in what.pop("values", COUNTS).ravel()],
        "energies_ev": ENERGIES,
        "dwell_ms": [2.0] * E,
        "x": [10.0, 0.25],
        "y": [-3.0, 0.5],
        "unit": "um",
        "signal": "transmission",
        "beamline": "PolLux",
        "started": "2026-09-21T10:00:00Z",
        "warnings": [],
    }
    expected.append({"file": name, **usual, **what})


def refuse(name, *words):
    """Notes that a file is to be refused with these words."""
    expected.append({"file": name, "error": list(words)})


def layout_of(kind):
    """Creation arguments of a dataset of each layout."""
    unlimited = {"maxshape": (None, Y, X)}
    return {
        "contiguous": {},
        "single": {"chunks": (E, Y, X)},
        "single-gzip": {"chunks": (E, Y, X), "compression": "gzip"},
        "fixed": {"chunks": CHUNK},
        "fixed-filters": {"chunks": CHUNK, "compression": "gzip", "shuffle": True, "fletcher32": True},
        "extensible": {"chunks": CHUNK, **unlimited},
        "extensible-gzip": {"chunks": CHUNK, "compression": "gzip", **unlimited},
        "btree": {"chunks": CHUNK, "maxshape": (None, None, X)},
        "btree-gzip": {"chunks": CHUNK, "compression": "gzip", "maxshape": (None, None, X)},
        "pixels": {"chunks": (E, 1, 1), "compression": "gzip"},
    }[kind]


LAYOUTS = [
    "contiguous", "single", "single-gzip", "fixed", "fixed-filters",
    "extensible", "extensible-gzip", "btree", "btree-gzip", "pixels",
]


def low_level(group, kind, values):
    """A dataset of a layout that h5py's own interface does not make."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if kind == "implicit":
        properties.set_chunk(CHUNK)
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    else:
        properties.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(values.shape)
    dataset = h5py.Dataset(h5py.h5d.create(group.id, b"data", h5py.h5t.IEEE_F32LE, space, properties))
    dataset[...] = values
    return dataset


class Scan:
    """One file with one entry; what a test leaves out or changes is done after."""

    def __init__(self, name, entry="entry1", data="counter0", values=COUNTS, signal="data", **how):
        creation = how.pop("creation", {})
        low = how.pop("low", None)
        self.name = name
        self.file = h5py.File(out / name, "w", **how)
        self.entry = self.add(self.file, entry, "NXentry")
        self.entry["definition"] = np.array([b"NXstxm"])
        self.entry["title"] = "a scan"
        self.entry["start_time"] = "2026-09-21T12:00:00+02:00"
        instrument = self.add(self.entry, "instrument", "NXinstrument")
        instrument["name"] = "PolLux"
        self.data = self.add(self.entry, data, "NXdata")
        self.data.attrs["signal"] = signal
        self.data.attrs["axes"] = np.array([b"energy", b"sample_y", b"sample_x"])
        self.data["stxm_scan_type"] = np.array([b"sample image stack"])
        if low:
            low_level(self.data, low, values)
        else:
            self.data.create_dataset(signal, data=values, **creation)
        self.axis("energy", ENERGIES, "eV")
        self.axis("sample_y", -3.0 + 0.5 * np.arange(Y), "um")
        self.axis("sample_x", 10.0 + 0.25 * np.arange(X), "um")
        self.data["count_time"] = 0.002
        self.data["count_time"].attrs["units"] = "s"

    @staticmethod
    def add(place, name, kind):
        group = place.create_group(name)
        group.attrs["NX_class"] = kind
        return group

    def axis(self, name, values, units=None):
        if name in self.data:
            del self.data[name]
        self.data[name] = np.asarray(values)
        if units is not None:
            self.data[name].attrs["units"] = units

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def layouts():
    for version in ["earliest", "v108", "latest"]:
        for kind in LAYOUTS:
            name = f"{version}-{kind}.nxs"
            Scan(name, values=COUNTS.astype("f4"), libver=version, creation=layout_of(kind)).file.close()
            expect(name)
        for kind in ["implicit", "compact"]:
            name = f"{version}-{kind}.nxs"
            Scan(name, values=COUNTS.astype("f4"), libver=version, low=kind).file.close()
            expect(name)


def types():
    whole = np.floor(COUNTS)
    for kind in ["f4", ">f4", "f8", ">f8", "f2", "u1", "i2", ">i2", "u4", ">u4", "i8", ">u8"]:
        values = COUNTS if "f" in kind else whole
        name = f"type-{kind.replace('>', 'big-')}.h5"
        Scan(name, values=values.astype(kind)).file.close()
        expect(name, values=values)
    with Scan("type-scaleoffset.h5", values=whole.astype("i4"), creation={"chunks": CHUNK, "scaleoffset": 0}):
        expect("type-scaleoffset.h5", values=whole)


def orders():
    for name, order in [("xye", (2, 1, 0)), ("yxe", (1, 2, 0)), ("yex", (1, 0, 2))]:
        axes = [["energy", "sample_y", "sample_x"][i] for i in order]
        for style in ["texts", "bytes", "one", "old"]:
            file = f"order-{name}-{style}.nx"
            with Scan(file, values=np.ascontiguousarray(COUNTS.transpose(order)), creation={"chunks": (2, 2, 2)}) as scan:
                del scan.data.attrs["axes"]
                if style == "texts":
                    scan.data.attrs["axes"] = axes
                elif style == "bytes":
                    scan.data.attrs["axes"] = np.array([axis.encode() for axis in axes])
                elif style == "one":
                    scan.data["data"].attrs["axes"] = "[" + ":".join(axes) + "]"
                else:
                    for position, axis in enumerate(axes):
                        scan.data[axis].attrs["axis"] = position + 1
            expect(file)
    with Scan("order-none.nxs") as scan:
        del scan.data.attrs["axes"]
    expect("order-none.nxs")


def links():
    for version in ["earliest", "latest"]:
        with Scan(f"{version}-soft.nxs", libver=version) as scan:
            # The data group, the signal and an axis each lie elsewhere, one over two links.
            scan.file.move("entry1/counter0/data", "raw/values")
            scan.data["data"] = h5py.SoftLink("/second")
            scan.file["second"] = h5py.SoftLink("/raw/values")
            scan.file.move("entry1/counter0/energy", "raw/energy")
            scan.data["energy"] = h5py.SoftLink("/raw/energy")
            scan.file.move("entry1/counter0", "group")
            scan.entry["counter0"] = h5py.SoftLink("/group")
            scan.entry["nowhere"] = h5py.SoftLink("/nothing")
            scan.entry["elsewhere"] = h5py.ExternalLink("no-such-file.h5", "/x")
            scan.file["round"] = h5py.SoftLink("/about")
            scan.file["about"] = h5py.SoftLink("/round")
        expect(f"{version}-soft.nxs")
        with Scan(f"{version}-hard.nxs", libver=version) as scan:
            detector = scan.add(scan.entry["instrument"], "detector", "NXdetector")
            detector["data"] = scan.data["data"]
        expect(f"{version}-hard.nxs")
        with Scan(f"{version}-crowded.nxs", libver=version) as scan:
            for i in range(60):
                scan.entry[f"note{i}"] = i
                scan.entry.attrs[f"remark{i}"] = f"remark {i}"
                scan.data.attrs[f"remark{i}"] = i
        expect(f"{version}-crowded.nxs")
    with Scan("ordered.nxs", libver="latest", track_order=True):
        expect("ordered.nxs")
    with Scan("userblock.nxs", userblock_size=512):
        expect("userblock.nxs")
    with Scan("external.nxs") as scan:
        scan.file.move("entry1/counter0/data", "gone")
        scan.data["data"] = h5py.ExternalLink("other.h5", "/data")
    refuse("external.nxs", "/entry1/counter0/data is not there", "other files")


def texts():
    variable = h5py.string_dtype("ascii")
    definitions = {
        "fixed": np.bytes_(b"NXstxm"),
        "fixed-list": np.array([b"NXstxm  "]),
        "variable": "NXstxm",
        "variable-list": np.array(["NXstxm"], dtype=h5py.string_dtype()),
    }
    for kind, definition in definitions.items():
        with Scan(f"text-{kind}.nxs") as scan:
            del scan.entry["definition"]
            scan.entry["definition"] = definition
        expect(f"text-{kind}.nxs")
    for version in ["earliest", "latest"]:
        name = f"{version}-latin1.nxs"
        with Scan(name, libver=version) as scan:
            # Latin-1 wherever there is a text: fixed and variable, attribute and dataset, one and many.
            scan.data["sample_x"].attrs["units"] = np.bytes_(b"\xb5m")
            scan.data["sample_y"].attrs.create("units", np.array([b"\xb5m"], dtype=variable), dtype=variable)
            scan.data.attrs["remark"] = np.bytes_(b"caf\xe9")
            scan.entry.attrs.create("remarks", np.array([b"\xe9", b"\xb5"], dtype=variable), dtype=variable)
            del scan.entry["title"], scan.entry["instrument/name"]
            scan.entry["title"] = np.array([b"caf\xe9"])
            scan.entry["instrument/name"] = np.array([b"Ad\xe8le"], dtype=variable)
        expect(name, beamline="Ad_le")
        name = f"{version}-latin1-axes.nxs"
        with Scan(name, libver=version) as scan:
            del scan.data.attrs["axes"]
            scan.axis("energy", ENERGIES)
            scan.file.move("entry1/counter0/energy", "entry1/counter0/energy in eV")
            axes = np.array([b"energy in eV", b"sample_y", b"sample_x"], dtype=variable)
            scan.data.attrs.create("axes", axes, dtype=variable)
            scan.data.attrs.create("remarks", np.array([b"\xe9", b"\xb5"], dtype=variable), dtype=variable)
        expect(name)


def exposures():
    cases = {
        "list": (np.full(E, 0.002), "s", [2.0] * E, []),
        "energies-ms": (np.array([1.0, 2.0, 3.0, 4.0]), "ms", [1.0, 2.0, 3.0, 4.0], []),
        "values": (np.broadcast_to(np.arange(1, E + 1)[:, None, None] / 1000.0, (E, Y, X)), "s", [1.0, 2.0, 3.0, 4.0], []),
        "no-unit": (0.002, None, [2.0] * E, ["count_time has no unit"]),
        "bad-length": (np.full(3, 0.002), "s", [1.0] * E, ["a dwell of 1 ms is assumed"]),
        "zero": (np.array([0.002, 0.0, np.nan, 0.002]), "s", [2.0, 1.0, 1.0, 2.0], ["in part no exposure"]),
    }
    for kind, (times, unit, dwell_ms, warnings) in cases.items():
        with Scan(f"time-{kind}.nxs") as scan:
            del scan.data["count_time"]
            scan.data["count_time"] = times
            if unit:
                scan.data["count_time"].attrs["units"] = unit
        expect(f"time-{kind}.nxs", dwell_ms=dwell_ms, warnings=warnings)
    with Scan("time-none.nxs") as scan:
        del scan.data["count_time"]
    expect("time-none.nxs", dwell_ms=[1.0] * E, warnings=["/entry1/counter0/count_time is not there; a dwell of 1 ms"])
    with Scan("time-detector.nxs") as scan:
        del scan.data["count_time"]
        detector = scan.add(scan.entry["instrument"], "detector", "NXdetector")
        detector["count_time"] = 2.0
        detector["count_time"].attrs["units"] = "ms"
    expect("time-detector.nxs")


def entries():
    with Scan("entries.nxs", entry="b", data="fluorescence", values=COUNTS * 2) as scan:
        scan.file.copy("b", "c")
        scan.file.move("c/fluorescence", "c/transmission")
        del scan.file["c/transmission/data"]
        scan.file["c/transmission/data"] = COUNTS
        scan.file.copy("c", "d")
        scan.file.copy("c", "a")
        del scan.file["a/definition"]
        scan.file["a/definition"] = "NXxas"
    expect("entries.nxs", warnings=["/c/transmission is read, not /d/transmission, /b/fluorescence"])
    with Scan("default.nxs", entry="b") as scan:
        scan.file.copy("b", "a")
        scan.file["a/counter0/data"][...] = 0
        scan.file.attrs["default"] = "b"
    expect("default.nxs", warnings=["/b/counter0 is read, not /a/counter0"])
    with Scan("fluorescence.nxs", data="fluorescence"):
        expect("fluorescence.nxs", signal="fluorescence")
    with Scan("yield.nxs") as scan:
        scan.data["data"].attrs["long_name"] = "Total electron yield"
    expect("yield.nxs", signal="electron_yield")
    with Scan("signal.nxs", signal="counts"):
        expect("signal.nxs")
    with Scan("kev.nxs") as scan:
        scan.axis("energy", np.array(ENERGIES) / 1000, "keV")
        scan.file.move("entry1/counter0/energy", "entry1/counter0/photon_energy")
        scan.data.attrs["axes"] = ["photon_energy", "sample_y", "sample_x"]
    expect("kev.nxs")
    with Scan("monochromator.nxs") as scan:
        monochromator = scan.add(scan.entry["instrument"], "monochromator", "NXmonochromator")
        scan.file.move("entry1/counter0/energy", "entry1/instrument/monochromator/energy")
        assert "energy" in monochromator
    expect("monochromator.nxs")
    with Scan("metres.nxs") as scan:
        scan.axis("sample_x", (10.0 + 0.25 * np.arange(X)) * 1e-6, "m")
        scan.axis("sample_y", (-3.0 + 0.5 * np.arange(Y)) * 1e-3, "mm")
    expect("metres.nxs")


def readings():
    with Scan("monitor.nxs") as scan:
        scan.add(scan.entry, "control", "NXmonitor")["data"] = COUNTS * 10
    expect("monitor.nxs", i0_kind="monitor", i0=list((COUNTS * 10).ravel()))
    with Scan("monitor-energies.nxs") as scan:
        scan.add(scan.entry, "control", "NXmonitor")["data"] = np.array([1.0, np.nan, 0.0, 4.0])
    i0 = [[1.0] * Y * X, [None] * Y * X, [None] * Y * X, [4.0] * Y * X]
    expect("monitor-energies.nxs", i0_kind="monitor", i0=sum(i0, []))
    with Scan("current.nxs") as scan:
        scan.add(scan.entry["instrument"], "ring", "NXsource")["current"] = 400.0
    expect("current.nxs", ring_current_ma=[400.0] * E)
    with Scan("current-control.nxs") as scan:
        control = scan.add(scan.entry, "control", "NXmonitor")
        control["data"] = np.broadcast_to(np.arange(1, E + 1)[:, None, None] / 10.0, (E, Y, X))
        control["data"].attrs["units"] = "A"
    expect("current-control.nxs", ring_current_ma=[100.0, 200.0, 300.0, 400.0], i0_kind="monitor")
    with Scan("monitor-shape.nxs") as scan:
        scan.add(scan.entry, "control", "NXmonitor")["data"] = np.ones((2, 2))
    expect("monitor-shape.nxs", i0_kind="monitor", warnings=["/entry1/control/data is left aside"])


def gaps():
    values = COUNTS.copy()
    values[1] = np.nan
    values[2, 1] = np.inf
    clean = np.where(np.isfinite(values), values, np.nan)
    with Scan("gaps.nxs", values=values):
        expect("gaps.nxs", values=clean)
    for version in ["earliest", "latest"]:
        with Scan(f"{version}-stopped.nxs", libver=version) as scan:
            del scan.data["data"]
            scan.data.create_dataset("data", (E, Y, X), "f8", chunks=(1, Y, X), fillvalue=np.nan, compression="gzip")
            scan.data["data"][0] = COUNTS[0]
        stopped = np.where(np.arange(E)[:, None, None] == 0, COUNTS, np.nan)
        expect(f"{version}-stopped.nxs", values=stopped)


def refusals():
    def bad(name, change, *words, **how):
        with Scan(f"bad-{name}.nxs", **how) as scan:
            change(scan)
        refuse(f"bad-{name}.nxs", *words)

    def delete(path):
        return lambda scan: scan.entry.__delitem__(path)

    def axes(*names):
        return lambda scan: scan.data.attrs.__setitem__("axes", list(names))

    def nothing(_):
        pass

    bad("energy", delete("counter0/energy"), "/entry1/counter0/energy", "no photon energies")
    bad("energies", lambda scan: scan.axis("energy", ENERGIES[:3]), "/entry1/counter0/energy", "3 values; the data have 4")
    bad("nan", lambda scan: scan.axis("energy", [700, np.nan, 701, 702]), "/entry1/counter0/energy", "NaN")
    bad("negative", lambda scan: scan.axis("energy", [-1.0, 1, 2, 3]), "/entry1/counter0/energy", "-1 is no photon")
    bad("x", delete("counter0/sample_x"), "/entry1/counter0/sample_x", "no positions")
    bad("still", lambda scan: scan.axis("sample_x", [1.0] * X), "/entry1/counter0/sample_x", "are the same")
    bad("data", delete("counter0/data"), "/entry1/counter0/data is not there")
    bad("definition", delete("definition"), "/entry1/definition is missing")
    bad("axes", axes("time", "sample_y", "sample_x"), "/entry1/counter0: axes are time, sample_y, sample_x")
    bad("axes-twice", axes("energy", "energy", "sample_x"), "/entry1/counter0: axes are")
    bad("focus", lambda scan: scan.data["stxm_scan_type"].__setitem__(0, b"sample focus"), "is a sample focus")
    bad("image", nothing, "has 2 dimensions", values=COUNTS[0])
    bad("text", nothing, "/entry1/counter0/data", "no numbers", values=np.full((E, Y, X), b"many"))
    bad("filter", nothing, "/entry1/counter0/data", "filter", creation={"chunks": CHUNK, "compression": "lzf"})
    bad("empty", nothing, "not one value is a number", values=np.full((E, Y, X), np.nan))
    with Scan("bad-huge.nxs") as scan:
        del scan.data["data"]
        scan.data.create_dataset("data", (4000, 10000, 10000), "f4", chunks=(1, 1000, 1000))
    refuse("bad-huge.nxs", "/entry1/counter0/data", "4000×10000×10000")
    with Scan("bad-large.nxs") as scan:
        del scan.data["data"]
        scan.data.create_dataset("data", (100, 1000, 1000), "f4", chunks=(1, 1000, 1000))
    refuse("bad-large.nxs", "/entry1/counter0/data", "more than a file of this length can hold")
    (out / "bad-nothing.nxs").write_bytes(b"")
    refuse("bad-nothing.nxs", "no readable HDF5")
    (out / "bad-text.h5").write_text("hello " * 200)
    refuse("bad-text.h5", "no readable HDF5")
    with h5py.File(out / "bad-other.h5", "w") as file:
        file["x"] = 1
    refuse("bad-other.h5", "no NXentry")


def mantis(name, values=COUNTS, white=None, **what):
    with h5py.File(out / name, "w") as file:
        file["implements"] = np.array(["information:exchange:spectromicroscopy"], dtype=h5py.string_dtype())
        file["information/file_creation_datetime"] = np.array(["2026-09-21T10:00"], dtype=h5py.string_dtype())
        file["exchange/data"] = np.ascontiguousarray(values.transpose(2, 1, 0))
        file["exchange/data"].attrs["axes"] = "x:y"
        file["exchange/energy"] = ENERGIES
        file["exchange/energy"].attrs["units"] = "eV"
        file["exchange/x"] = 10.0 + 0.25 * np.arange(X)
        file["exchange/y"] = -3.0 + 0.5 * np.arange(Y)
        if white is not None:
            file["spectromicroscopy/normalization/white_spectrum"] = white
            file["spectromicroscopy/normalization/white_spectrum_energy"] = ENERGIES
    usual = {"unit": "pixel", "beamline": "unknown", "dwell_ms": [1.0] * E}
    warnings = ["the file has no dwell; 1 ms is assumed", *what.pop("warnings", [])]
    expect(name, values=values, warnings=warnings, **{**usual, **what})


def exchanges():
    mantis("mantis-raw.hdf5")
    ones = [1.0] * E * Y * X
    mantis("mantis-ones.hdf5", white=np.ones(E), i0=ones, signal="fluorescence", warnings=["taken as fluorescence"])
    share = COUNTS / COUNTS.max()
    mantis("mantis-share.hdf5", values=share, white=np.ones(E), i0=ones)
    white = 100.0 + np.arange(E)
    mantis("mantis-white.hdf5", white=white, i0=list(np.repeat(white, Y * X)))
    mantis("bad-mantis.hdf5", white=np.ones(E + 1))
    expected.pop()
    refuse("bad-mantis.hdf5", "/spectromicroscopy/normalization/white_spectrum_energy", "4 values; the data have 5")
    with h5py.File(out / "bad-mantis-data.hdf5", "w") as file:
        file["exchange/energy"] = ENERGIES
    refuse("bad-mantis-data.hdf5", "/exchange/data", "it is not there")


def main():
    for write in [layouts, types, orders, links, texts, exposures, entries, readings, gaps, refusals, exchanges]:
        write()
    (out / "expected.json").write_text(json.dumps(expected))
    print(len(expected), "files")


main()
