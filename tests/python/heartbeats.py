"""Sends a scan with heartbeats switched on, and listens with heartbeats switched on; fails where a connection breaks.

Usage: heartbeats.py MESSAGES KIND ADDRESS PUBLISH SCAN_ID INTERVAL_MS. MESSAGES is a JSON list of messages, each a list of parts
in hexadecimal; KIND is push or pub. Needs pyzmq.
"""

import json
import pathlib
import sys
import time

import zmq

LIVELY = {zmq.EVENT_CONNECTED, zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_CONNECT_DELAYED}
BROKEN = {zmq.EVENT_DISCONNECTED, zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_CLOSED}


def lively(context, kind, interval_ms):
    """A socket with heartbeats, whose peer has to answer each before the next, and its monitor."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.HEARTBEAT_IVL, interval_ms)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, interval_ms)
    socket.setsockopt(zmq.HEARTBEAT_TTL, 4 * interval_ms)
    return socket, socket.get_monitor_socket(zmq.EVENT_ALL)


def events(monitor):
    seen = set()
    while monitor.poll(0):
        seen.add(zmq.utils.monitor.recv_monitor_message(monitor)["event"])
    return seen


def main(path, kind, address, publish, scan_id, interval_ms):
    interval_ms = int(interval_ms)
    messages = [[bytes.fromhex(part) for part in parts] for parts in json.loads(pathlib.Path(path).read_text())]
    context = zmq.Context()
    listener, heard = lively(context, zmq.SUB, interval_ms)
    listener.subscribe(f"scan/{scan_id}")
    listener.connect(publish)
    sender, sent = lively(context, zmq.PUSH if kind == "push" else zmq.XPUB, interval_ms)
    sender.connect(address)
    topic = []
    if kind == "pub":
        assert sender.recv() == b"\x01stxm", "the subscription"
        topic = [b"stxm"]
    begun = time.monotonic()
    for message in messages:
        sender.send_multipart(topic + message)
        # The scan lasts for many heartbeats; messages go on between them.
        time.sleep(interval_ms / 1000 / 4)
    beats = (time.monotonic() - begun) / (interval_ms / 1000)
    assert beats > 10, beats
    event = None
    while event != "archived":
        assert listener.poll(40_000), f"nothing after {event}"
        event = json.loads(listener.recv_multipart()[1])["event"]
    for monitor in (sent, heard):
        seen = events(monitor)
        assert seen & LIVELY and not seen & BROKEN, sorted(seen)
    context.destroy(linger=0)


if __name__ == "__main__":
    import zmq.utils.monitor

    main(*sys.argv[1:])
