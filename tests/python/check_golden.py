"""Checks the golden messages of stxm-stream/1 from outside: each header against the JSON Schema, each payload
against its header, and that the schema refuses what the specification refuses.

Usage: check_golden.py [PROTO_DIR]. Needs jsonschema and numpy. Exits 1 with the first fault of each message.
"""

import copy
import json
import pathlib
import struct
import sys

import jsonschema
import numpy as np

DTYPES = {"uint8": "u1", "uint16": "<u2", "uint32": "<u4", "float32": "<f4", "float64": "<f8"}


def parts_of(path):
    """The payload parts of a golden message, in order."""
    parts = []
    while (part := path.with_name(f"{path.stem}.part{len(parts) + 1}.hex")).exists():
        parts.append(bytes.fromhex(part.read_text()))
    return parts


def unpack_lz4(block):
    """An LZ4 block that holds literals only, which is all the golden messages need."""
    length = block[0] >> 4
    assert length < 15 and len(block) == 1 + length, "not a block of a few literals"
    return block[1:]


def unpack(encoding, part):
    """The bytes of one compressed frame."""
    total, block_size = struct.unpack(">QI", part[:12])
    (length,) = struct.unpack(">I", part[12:16])
    block = part[16:]
    assert len(block) == length, "one block"
    if encoding == "lz4":
        data = block if length == block_size else unpack_lz4(block)
    else:
        planes = np.frombuffer(unpack_lz4(block), np.uint8).reshape(8, -1)
        bits = np.unpackbits(planes, axis=1, bitorder="little")
        data = np.packbits(bits.T, axis=1, bitorder="little").tobytes()
    assert len(data) == total, "total size"
    return data


def check_payload(header, parts, frame):
    """The parts have the sizes that the header announces; returns the values."""
    if header["type"] != "samples":
        assert not parts, "no payload is allowed"
        return None
    count, dtype = header["count"], np.dtype(DTYPES[header["dtype"]])
    encoding = header.get("encoding", "raw")
    values = 1 if encoding == "raw" else count
    pixel, i0 = header.get("pixel_part", False), header.get("i0_part", False)
    assert len(parts) == values + pixel + i0, f"{len(parts)} parts"
    frames = parts[:values] if encoding == "raw" else [unpack(encoding, part) for part in parts[:values]]
    data = np.frombuffer(b"".join(frames), dtype)
    assert data.size == count * frame, f"{data.size} values for {count} pixels of {frame}"
    if pixel:
        assert np.frombuffer(parts[values], "<u4").size == count, "pixel part"
    if i0:
        assert np.frombuffer(parts[-1], "<f4").size == count, "i0 part"
    return data.tolist()


def refused(headers):
    """Headers that break one rule each."""
    def change(name, **fields):
        header = copy.deepcopy(headers[name])
        for key, value in fields.items():
            if value is None:
                header.pop(key)
            else:
                header[key] = value
        return header

    grid = headers["scan_start_point"]["grid"]
    yield "no scan_id", change("samples_run", scan_id=None)
    yield "a scan_id with a slash", change("samples_run", scan_id="a/b")
    yield "a scan_id that begins with a dot", change("samples_run", scan_id=".a")
    yield "a negative seq", change("samples_run", seq=-1)
    yield "another stream", change("samples_run", stream="stxm-stream/2")
    yield "no time in scan_start", change("scan_start_point", time=None)
    yield "time without an offset", change("scan_start_point", time="2026-11-22T09:30:00")
    yield "an empty grid", change("scan_start_point", grid={**grid, "shape": [0, 3]})
    yield "a step of 0", change("scan_start_point", grid={**grid, "x": {"start": 0, "step": 0}})
    yield "no energies", change("scan_start_point", energies_ev=[])
    yield "an energy of 0", change("scan_start_point", energies_ev=[0])
    yield "frame_shape of a point detector", change("scan_start_point", detector={"frame_shape": [2, 2]})
    yield "an area detector without frame_shape", change("scan_start_area", detector={"kind": "area"})
    yield "count 0", change("samples_run", count=0)
    yield "both i0 and i0_part", change("samples_run", i0_part=True)
    yield "no first_pixel", change("samples_run", first_pixel=None)
    yield "an unknown dtype", change("samples_run", dtype="int16")
    yield "an unknown status", change("scan_end_complete", status="done")
    yield "an extension without energies", change("plan_extend", energies_ev=None)


def resending(schema):
    """Faults of the schema of requests to send again and their answers."""
    request = {"scan_id": "2026-11-22-001", "seq": [[3, 5], [9, 4294967294]]}
    good = [("resend_request", request), ("resend_answer", {"sent": 0}), ("resend_answer", {"error": "no such scan"})]
    bad = [("resend_request", {**request, "seq": ranges}) for ranges in ([], [3], [[3]], [[0, -1]], [[0, 4294967295]])]
    bad += [("resend_request", {"seq": [[0, 1]]}), ("resend_answer", {}), ("resend_answer", {"sent": "4"})]
    bad.append(("resend_answer", {"sent": 1, "error": "both"}))

    def is_valid(name, value):
        part = {"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]}
        return jsonschema.Draft202012Validator(part).is_valid(value)

    yield from (f"{name} refuses {value}" for name, value in good if not is_valid(name, value))
    yield from (f"{name} lets pass {value}" for name, value in bad if is_valid(name, value))


def main():
    proto = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "proto")
    schema = json.loads((proto / "stxm-stream-v1.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    faults, headers, values = [], {}, {}
    for path in sorted((proto / "golden").glob("*.json")):
        header = headers[path.stem] = json.loads(path.read_text())
        frame = 8 if "area" in path.stem else 1
        try:
            validator.validate(header)
            values[path.stem] = check_payload(header, parts_of(path), frame)
        except (AssertionError, ValueError, jsonschema.ValidationError) as error:
            faults.append(f"{path.name}: {error}")
    types = {header["type"] for header in headers.values()}
    if types != set(schema["properties"]["type"]["enum"]):
        faults.append(f"golden messages are of the types {sorted(types)}")
    raw = values.get("samples_area_raw")
    for name in ("samples_area_lz4", "samples_area_bslz4"):
        if values.get(name) != raw:
            faults.append(f"{name} unpacks to {values.get(name)}, not {raw}")
    cases = list(refused(headers))
    faults += [f"the schema lets pass: {what}" for what, header in cases if validator.is_valid(header)]
    more = [{**headers["samples_run"], "unknown_field": 1}]
    more.append({k: v for k, v in headers["samples_run"].items() if k not in ("time", "encoding")})
    faults += [f"the schema refuses {header}" for header in more if not validator.is_valid(header)]
    faults += resending(schema)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(headers)} golden messages, {len(cases)} refusals, {len(faults)} faults")
    return 1 if faults or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
