"""Pushes through a tee with libzmq, and pulls at each of its outputs: all messages, the same bytes, in order."""

import sys
import threading

import zmq

MESSAGES = 500


def message(number):
    """One of several parts, an empty one among them."""
    return [b"%d" % number, b"", bytes([number % 256]) * (1 + 997 * number % 65536)]


def pull(context, address, problems):
    socket = context.socket(zmq.PULL)
    # libzmq asks for signs of life; a tee that does not answer is hung up on.
    socket.set(zmq.HEARTBEAT_IVL, 100)
    socket.set(zmq.RCVTIMEO, 40_000)
    socket.connect(address)
    for number in range(MESSAGES):
        if socket.recv_multipart() != message(number):
            problems.append(f"{address}: message {number} is another")
            return
    socket.close(0)


def main():
    source, *outputs = sys.argv[1:]
    context = zmq.Context()
    problems = []
    threads = [threading.Thread(target=pull, args=(context, address, problems)) for address in outputs]
    for thread in threads:
        thread.start()
    push = context.socket(zmq.PUSH)
    push.set(zmq.HEARTBEAT_IVL, 100)
    push.set(zmq.SNDTIMEO, 40_000)
    push.connect(source)
    for number in range(MESSAGES):
        push.send_multipart(message(number))
    for thread in threads:
        thread.join()
    push.close(0)
    sys.exit("\n".join(problems) or 0)


main()
