#!/usr/bin/env python3
"""Measures the ages of frames while many slow clients hold the page of `oltr stream --listen`: `benches/clients.py PROGRAM`.

Frames come at a fixed rate into the program. Runs with nobody beside it, with a browser's worth of requests, and with
slow clients alternate, so that what else the machine does meets all of them. A slow client sends half a request a byte
at a time, or reads what it is answered a byte at a time, and comes again when it is turned away.
"""
import argparse
import json
import re
import selectors
import socket
import statistics
import subprocess
import threading
import time
from pathlib import Path

PHOTO = Path(__file__).parents[1] / "examples/photos/cup.jpg"
PATHS = ("/events", "/camera.jpg", "/frame.jpg", "/metrics")
SKIPPED = 10                         # first frames of a run, in which buffers are made


class Slow(threading.Thread):
    """So many slow clients at `port`, until it is told to stop."""

    def __init__(self, port: int, clients: int) -> None:
        super().__init__(daemon=True)
        self.port, self.clients, self.stop, self.turned_away = port, clients, threading.Event(), 0
        self.start()

    def run(self) -> None:
        known, poll = {}, selectors.DefaultSelector()
        for i in range(self.clients):
            self.connect(poll, known, i)
        while not self.stop.wait(0.1):
            ready = {key.fd for key, _ in poll.select(0)}
            for fd, (client, i) in list(known.items()):
                try:
                    if i % 2:                                   # half a request, a byte at a time
                        client.send(b"x")
                    if fd in ready and not client.recv(1):      # the answer, a byte at a time
                        raise OSError("turned away")
                except BlockingIOError:
                    pass
                except OSError:
                    self.turned_away += 1
                    poll.unregister(client)
                    client.close()
                    del known[fd]
                    self.connect(poll, known, i)
        for client, _ in known.values():
            client.close()

    def connect(self, poll, known, i: int) -> None:
        try:
            client = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        except OSError:
            return
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        begin = f"GET {PATHS[i // 2 % len(PATHS)]} HTTP/1.1\r\nHost: localhost:{self.port}\r\nX: "
        client.sendall(begin.encode() if i % 2 else begin.encode() + b"\r\n\r\n")
        client.setblocking(False)
        poll.register(client, selectors.EVENT_READ)
        known[client.fileno()] = (client, i)


def one(program: str, clients: int, rate: float, seconds: float) -> tuple[list[float], int]:
    """The ages of the frames of a run in milliseconds, and how often clients were turned away."""
    watched = subprocess.Popen([program, "stream", "--json", "--per-frame", "--listen", "127.0.0.1:0", "-"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False)
    port = None
    while port is None:
        said = watched.stderr.readline()
        assert said, "the program says no address"
        found = re.search(rb"http://127\.0\.0\.1:(\d+)", said)
        port = int(found[1]) if found else None
    ages: list[float] = []

    def hear() -> None:
        for line in watched.stdout:
            line = json.loads(line)
            if line["schema"] == "oltr.frame/1":
                ages.append(line["age_ms"])

    heard = threading.Thread(target=hear)
    heard.start()
    slow = Slow(port, clients)
    photo, begin = PHOTO.read_bytes(), time.monotonic()
    for n in range(int(rate * seconds)):
        time.sleep(max(0, begin + n / rate - time.monotonic()))
        watched.stdin.write(photo)
        watched.stdin.flush()
    watched.stdin.close()
    watched.wait()
    heard.join()
    slow.stop.set()
    slow.join()
    return ages[SKIPPED:], slow.turned_away


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rate", type=float, default=10, help="frames a second")
    parser.add_argument("--seconds", type=float, default=15, help="length of a run")
    parser.add_argument("--rounds", type=int, default=4)
    chosen = parser.parse_args()
    ages: dict[int, list[float]] = {0: [], chosen.clients: []}
    for round_ in range(chosen.rounds):
        order = list(ages) if round_ % 2 == 0 else list(ages)[::-1]
        for clients in order:
            found, away = one(chosen.program, clients, chosen.rate, chosen.seconds)
            ages[clients] += found
            print(f"round {round_ + 1}, {clients} clients: {describe(found)}, {away} times turned away", flush=True)
    for clients, found in ages.items():
        print(f"{clients:3} clients, {len(found)} frames: {describe(found)}")


def describe(ages: list[float]) -> str:
    parts = statistics.quantiles(ages, n=20)
    return f"ages of frames median {statistics.median(ages):.1f} ms, p95 {parts[18]:.1f} ms"


if __name__ == "__main__":
    main()
