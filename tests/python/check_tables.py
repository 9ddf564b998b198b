"""Publishes a scan and checks that ZeroMQ, HTTP and the archive give the same phase map, to the readers of others.

Usage: check_tables.py SOURCE PUBLISH HTTP ARCHIVE. Needs pyzmq, numpy, pyarrow, duckdb and polars.
"""

import io
import json
import pathlib
import subprocess
import sys
import time
import urllib.request

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import zmq

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples/publish.py"
SHAPE, ENERGIES = (12, 18), 12


def publish(source, scan_id):
    subprocess.run([sys.executable, EXAMPLE, source, scan_id], check=True, timeout=60)


def collect(source, address):
    """Publishes scans until one was followed to its end; returns its news and its last messages with a table."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.connect(address)
        socket.subscribe("")
        deadline = time.monotonic() + 40
        for number in range(1000):
            assert time.monotonic() < deadline, "nothing came"
            scan_id = f"tables-{number}"
            publish(source, scan_id)
            events, last = [], {}
            # What was published before the subscription had arrived is gone; then another scan is needed.
            while socket.poll(2000):
                topic, header, body = socket.recv_multipart()
                kind, _, of = topic.decode().partition("/")
                if of != scan_id:
                    continue
                header = json.loads(header)
                assert header["scan_id"] == scan_id
                if kind == "scan":
                    assert body == b"", "news have no table"
                    events.append(header)
                    if header["event"] == "archived" and events[0]["event"] == "started":
                        return scan_id, events, last
                else:
                    last[kind] = (header, pa.ipc.open_stream(body).read_all())


def fetch(http, path):
    with urllib.request.urlopen(f"http://{http}{path}") as answer:
        return answer.read()


def main(source, address, http, archive):
    scan_id, events, last = collect(source, address)
    names = [event["event"] for event in events]
    assert names[0] == "started" and names[-2:] == ["ended", "archived"], names
    header, table = last["phase_map"]
    assert header["energies_done"] == header["energies_total"] == ENERGIES
    assert abs(sum(header["fractions"].values()) - 1) < 1e-6, header["fractions"]
    assert sum(header["counts"].values()) == table.num_rows == SHAPE[0] * SHAPE[1]

    # HTTP serves the same bytes as a table.
    served = pa.ipc.open_stream(io.BytesIO(fetch(http, f"/api/v1/scans/{scan_id}/phase_map.arrow"))).read_all()
    assert served.equals(table, check_metadata=True), "HTTP and ZeroMQ differ"
    phases = json.loads(served.schema.metadata[b"phasewatch.phases"])
    assert set(phases) == set(header["fractions"]), phases
    spectra = pa.ipc.open_stream(io.BytesIO(fetch(http, f"/api/v1/scans/{scan_id}/spectra.arrow"))).read_all()
    assert spectra.equals(last["spectra"][1], check_metadata=True)

    # The archive holds the settled map, which is the last that was published.
    folder = pathlib.Path(events[-1]["archive_path"])
    stored = pa.parquet.read_table(folder / "phase_map.parquet", partitioning=None)
    # Readers may number the words of a dictionary as they like.
    def plain(column):
        return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column

    differing = [name for name in table.column_names if not plain(stored[name]).equals(plain(table[name]))]
    assert not differing, f"archive and ZeroMQ differ in {differing}"
    # The archived file says nothing of how the scan came in.
    of_the_stream = {b"phasewatch.generation", b"phasewatch.revision_reason"}
    metadata = [{key: t.schema.metadata[key] for key in t.schema.metadata.keys() - of_the_stream} for t in (stored, table)]
    assert metadata[0] == metadata[1], metadata
    assert stored.schema.metadata[b"phasewatch.generation"] == b"0"

    # Null stays null the way that the book tells; `to_numpy()` alone would make it the last word of the dictionary.
    assert table["phase"].null_count > 0 and table["status"].null_count == 0
    for read in (table, served, stored):
        for name in ("phase", "runner_up", "readings", "status"):
            told = read[name].cast("string").to_numpy()
            assert sum(word is None for word in told) == read[name].null_count == table[name].null_count, name

    # The whole archive reads as one table, wherever.
    pattern = f"{archive}/**/phase_map.parquet"
    publish(source, "another")
    deadline = time.monotonic() + 40
    while json.loads(fetch(http, "/api/v1/scans/another") if "another" in fetch(http, "/api/v1/scans").decode() else b"{}").get("state") != "archived":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    counted = duckdb.sql(
        f"select scan_id, status, count(*) as n from read_parquet('{pattern}', hive_partitioning = true) "
        "group by all order by all"
    ).fetchall()
    mine = {status: n for scan, status, n in counted if scan == scan_id}
    assert mine == {status: n for status, n in header["counts"].items() if n}, mine
    assert sum(n for scan, _, n in counted if scan == "another") == table.num_rows
    frame = polars.scan_parquet(pattern, hive_partitioning=True).filter(polars.col("scan_id") == scan_id).collect()
    assert frame.height == table.num_rows
    phases = frame.sort("y", "x")["phase"].cast(polars.String).to_list()
    assert phases == table["phase"].cast(pa.string()).to_pylist()
    dataset = pa.dataset.dataset(archive, format="parquet", exclude_invalid_files=True)
    files = [file for file in dataset.files if file.endswith("phase_map.parquet")]
    whole = pa.dataset.dataset(files, format="parquet", partitioning=None).to_table()
    assert whole.num_rows == sum(n for _, _, n in counted)
    assert pa.parquet.read_table(folder / "phase_map.parquet").num_rows == table.num_rows, "as pandas would read it"
    stack = pa.parquet.read_table(folder / "stack.parquet", partitioning=None)
    assert stack.num_rows == table.num_rows
    assert all(len(counts) == ENERGIES for counts in stack["counts"].to_pylist())
    print(f"{scan_id}: ZeroMQ, HTTP, pyarrow, duckdb and polars agree on {table.num_rows} pixels")


main(*sys.argv[1:])
