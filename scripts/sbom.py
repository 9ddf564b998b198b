#!/usr/bin/env python3
"""The bill of materials of the program, as CycloneDX 1.5, on standard output.

Usage: sbom.py [--program FILE]

It lists every crate that is linked into the program on Linux, and, marked as excluded, those that only build it (build scripts,
procedural macros); not those of the tests. Each with version, licence, checksum of Cargo.lock and what it depends on. With --program the SHA-256 of that file is that
of the component it is about. Nothing in it depends on when and where it is made. Needs cargo and Python 3.11, nothing else.
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def licences(package):
    # The old way to write a choice is no SPDX.
    text = (package.get("license") or "").replace("/", " OR ")
    return [{"expression": text}] if text else []


def reachable(nodes, root):
    """The ids linked into `root`, and those that only build scripts and procedural macros bring."""
    linked, building = set(), set()
    todo = [(root, True)]
    while todo:
        node, is_linked = todo.pop()
        if node in linked or (not is_linked and node in building):
            continue
        (linked if is_linked else building).add(node)
        for dependency in nodes[node]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            own = is_linked and None in kinds
            if own or "build" in kinds or (not is_linked and None in kinds):
                todo.append((dependency["pkg"], own))
    return linked, building - linked


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--program", type=pathlib.Path)
    program = options.parse_args().program
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(own["name"], own["version"]): own.get("checksum") for own in locked}
    packages = {own["id"]: own for own in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    linked, building = reachable(nodes, root)
    # Macros run in the compiler, and so does all that only they need.
    macros = {own for own in linked if any("proc-macro" in target["kind"] for target in packages[own]["targets"])}
    used = without(nodes, root, macros)
    building |= linked - used

    def component(own, kind):
        package = packages[own]
        said = {"type": kind, "bom-ref": purl(package), "name": package["name"], "version": package["version"],
                "purl": purl(package)}
        if kind == "library":
            said["scope"] = "required" if own in used else "excluded"
        if package.get("description"):
            said["description"] = " ".join(package["description"].split())
        checksum = checksums.get((package["name"], package["version"]))
        if checksum:
            said["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if licences(package):
            said["licenses"] = licences(package)
        return said

    everything = sorted((used | building) - {root}, key=lambda own: purl(packages[own]))
    about = component(root, "application")
    if program:
        about["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(program.read_bytes()).hexdigest()}]
    known = set(everything) | {root}
    dependencies = [
        {"ref": purl(packages[own]),
         "dependsOn": sorted({purl(packages[d["pkg"]]) for d in nodes[own]["deps"] if d["pkg"] in known
                              and any(kind["kind"] in (None, "build") for kind in d["dep_kinds"])})}
        for own in [root, *everything]
    ]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": about, "properties": [{"name": "phasewatch:target", "value": TARGET}]},
        "components": [component(own, "library") for own in everything],
        "dependencies": dependencies,
    }
    text = json.dumps(bill, sort_keys=True)
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, text).urn
    json.dump(bill, sys.stdout, indent=1, ensure_ascii=False)
    print()


def without(nodes, root, macros):
    """What is linked into `root` when macros are not followed."""
    found, todo = set(), [root]
    while todo:
        node = todo.pop()
        if node in found or node in macros:
            continue
        found.add(node)
        todo += [d["pkg"] for d in nodes[node]["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]
    return found


if __name__ == "__main__":
    main()
