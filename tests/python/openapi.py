"""Checks the description of the API that a running daemon serves, and holds the daemon to it.

usage: openapi.py http://127.0.0.1:PORT TOKEN SCAN_ID
"""

import json
import sys
import urllib.error
import urllib.request

import jsonschema
from openapi_spec_validator import validate

base, token, scan = sys.argv[1:4]


def ask(path, method="GET", body=None):
    request = urllib.request.Request(base + path, method=method)
    request.add_header("Authorization", "Bearer " + token)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


_, _, text = ask("/api/v1/openapi.json")
document = json.loads(text)
validate(document)

shelved = json.loads(ask("/api/v1/archive")[2])["scans"][0]["base"].split("/")[4:]
known = {
    "id": scan,
    "beamline": shelved[0],
    "date": shelved[1],
    "name": shelved[2],
    "layer": "phase.bin",
    "file": "manifest.json",
    "number": "1",
}
queries = {
    "pixel": "?row=0&column=0",
    "region": "?polygon=0,0;3,0;3,3;0,3",
}
schemas = document["components"]["schemas"]
registry = {"components": {"schemas": schemas}}
seen = set()
for path, operations in document["paths"].items():
    for method, operation in operations.items():
        if method == "parameters":
            continue
        address = path
        for name, value in known.items():
            address = address.replace("{" + name + "}", value)
        address += next((q for key, q in queries.items() if f"/{key}." in path), "")
        seen.add(path)
        if path == "/api/v1/events":
            continue
        status, kind, body = ask(address, method.upper(), {} if method == "post" else None)
        # Nothing that is described is unknown to the router: what is refused is refused by what answers there.
        assert status != 405, (method, path)
        if status == 404:
            assert json.loads(body)["error"] != "no such page", path
        if status >= 400:
            assert isinstance(json.loads(body)["error"], str), (path, body)
            continue
        content = operation["responses"]["200"]["content"]
        assert kind in content, (path, kind)
        schema = content[kind].get("schema", {})
        if kind == "application/json":
            jsonschema.Draft202012Validator({**registry, **schema}).validate(json.loads(body))
print(len(seen), "paths")
