"""An S3 server for tests: s3_server.py PORT BUCKET, moto behind a door that can be held shut for some objects.

Reads one JSON command a line from standard input and answers each with one line of JSON; ends with its input.
  {"do": "list"}                        sizes by key
  {"do": "damage", "key": K}            flips a bit in the middle of an object
  {"do": "delete", "key": K}
  {"do": "refuse", "ending": E}         writes of keys with this ending get 503; null: none
  {"do": "puts"}                        keys that were written since the last time it was asked, in order
"""

import json
import sys
import threading
from urllib.parse import unquote, urlsplit

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

port, bucket = int(sys.argv[1]), sys.argv[2]
application = DomainDispatcherApplication(create_backend_app)
door = {"refuse": None}
written = []


def gate(environ, start_response):
    key = unquote(urlsplit(environ["PATH_INFO"]).path).removeprefix(f"/{bucket}/")
    if environ["REQUEST_METHOD"] in ("PUT", "POST"):
        if door["refuse"] and key.endswith(door["refuse"]):
            start_response("503 Slow Down", [("content-type", "text/plain")])
            return [b"held"]
        if "uploadId" not in environ.get("QUERY_STRING", "") or environ["REQUEST_METHOD"] == "POST":
            written.append(key)
    return application(environ, start_response)


server = make_server("127.0.0.1", port, gate, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = boto3.client(
    "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
    aws_access_key_id="test", aws_secret_access_key="test",
)
client.create_bucket(Bucket=bucket)
written.clear()
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    command = json.loads(line)
    answer = None
    match command["do"]:
        case "list":
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            answer = {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", [])}
        case "damage":
            body = bytearray(client.get_object(Bucket=bucket, Key=command["key"])["Body"].read())
            body[len(body) // 2] ^= 1
            client.put_object(Bucket=bucket, Key=command["key"], Body=bytes(body))
        case "delete":
            client.delete_object(Bucket=bucket, Key=command["key"])
        case "refuse":
            door["refuse"] = command["ending"]
        case "puts":
            answer = list(written)
            written.clear()
    if command["do"] in ("damage", "delete"):
        written.clear()
    print(json.dumps(answer), flush=True)
