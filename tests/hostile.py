#!/usr/bin/env python3
"""Hostile load against a node, by measure. See docs/hostile.md.

    hostile.py BINARY [CASE ...]        BINARY: doled (run as `doled serve`) or a memcached

Needs nothing but Python. Each case starts a server of its own on a free port of loopback, prints what it measured, and ends the server.
"""

import os
import resource
import socket
import struct
import subprocess
import sys
import threading
import time

BINARY = sys.argv[1]


class Server:
    def __init__(self, *args, nofile=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        name = os.path.basename(BINARY)
        first = ["serve"] if name == "doled" else ["-u", "root"]
        def limit():
            if nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
        self.process = subprocess.Popen([BINARY, *first, "-l", "127.0.0.1", "-p", str(self.port), *args], preexec_fn=limit)
        for _ in range(500):
            try:
                self.connect().close()
                break
            except OSError:
                time.sleep(0.02)

    def connect(self, host="127.0.0.1"):
        s = socket.socket()
        s.settimeout(10)
        s.bind((host, 0))
        s.connect(("127.0.0.1", self.port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def status(self, field):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith(field):
                return int(line.split()[1])

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stat(self, name):
        with self.connect() as s:
            s.sendall(b"stats\r\n")
            text = b""
            while not text.endswith(b"END\r\n"):
                text += s.recv(65536)
        return int(text.split(b"STAT %s " % name.encode())[1].split(b"\r")[0])

    def alive(self):
        with self.connect() as s:
            s.sendall(b"mn\r\n")
            return s.recv(10) == b"MN\r\n" and self.process.poll() is None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        code = self.process.wait(20)
        print(f"    ended with {code}")


def raise_files(n):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(n, hard) if hard > 0 else n, hard))


def percentiles(times):
    times = sorted(times)
    at = lambda q: times[min(len(times) - 1, int(q * len(times)))] * 1e6
    return f"p50 {at(.5):.0f} us, p99 {at(.99):.0f} us, p99.9 {at(.999):.0f} us, most {times[-1]*1e6:.0f} us of {len(times)}"


def normal(server, seconds, times):
    """An ordinary client, one get at a time."""
    with server.connect() as s:
        s.sendall(b"set k 0 0 100\r\n" + b"v" * 100 + b"\r\n")
        s.recv(100)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.monotonic()
            s.sendall(b"get k\r\n")
            got = b""
            while not got.endswith(b"END\r\n"):
                got += s.recv(4096)
            times.append(time.monotonic() - begun)


def idle():
    """10,000 connections at once, then idle."""
    raise_files(12000)
    with Server("-c", "11000", "-t", "4") as server:
        rss, begun, conns = server.status("VmRSS"), time.monotonic(), []
        for n in range(10000):
            s = socket.socket()
            s.setblocking(False)
            s.bind((f"127.0.0.{2 + n // 5000}", 0))
            s.connect_ex(("127.0.0.1", server.port))
            conns.append(s)
        for s in conns:
            s.setblocking(True); s.settimeout(20)
        for s in conns:
            s.sendall(b"mn\r\n")
        connected = time.monotonic() - begun
        answered = sum(s.recv(10) == b"MN\r\n" for s in conns)
        took = time.monotonic() - begun
        after = server.status("VmRSS")
        print(f"    {answered} of {len(conns)} connected ({connected:.2f} s) and answered after {took:.2f} s; RSS {rss} -> {after} kB: {(after - rss) * 1024 / len(conns):.0f} bytes each")
        for s in conns:
            s.sendall(b"get a b c d\r\n")
        for s in conns:
            s.recv(100)
        for s in conns:  # A line that has not ended is kept.
            s.sendall(b"set k 0 0")
        time.sleep(0.5)
        kept = server.status("VmRSS")
        print(f"    with half a line on each: {(kept - rss) * 1024 / len(conns):.0f} bytes each")
        cpu = server.cpu(); time.sleep(2)
        print(f"    CPU of 2 idle seconds: {server.cpu() - cpu:.2f} s")
        for s in conns: s.close()
        time.sleep(0.5)
        print(f"    closed: curr_connections {server.stat('curr_connections')}, RSS {server.status('VmRSS')} kB; alive {server.alive()}")


def limit():
    """More connections than -c allows."""
    with Server("-c", "100") as server:
        conns = [server.connect() for _ in range(150)]
        told = 0
        for s in conns:
            try:
                s.sendall(b"mn\r\n"); told += s.recv(100).startswith(b"ERROR Too many")
            except OSError: told += 1
        print(f"    {told} of 150 told so")
        for s in conns: s.close()
        time.sleep(0.2)
        print(f"    afterwards alive {server.alive()}, rejected_connections {server.stat('rejected_connections')}")


def storm():
    """Connections that are reset as soon as they stand."""
    with Server("-c", "2000") as server:
        rss, begun, cpu, n = server.status("VmRSS"), time.monotonic(), server.cpu(), 0
        times = []
        beside = threading.Thread(target=normal, args=(server, 5, times)); beside.start()
        while time.monotonic() - begun < 5:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.connect(("127.0.0.1", server.port))
            if n % 2: s.sendall(b"get " + b"x" * 100)
            s.close(); n += 1
        beside.join()
        print(f"    {n} in 5 s, CPU {server.cpu() - cpu:.2f} s; beside it: {percentiles(times)}")
        time.sleep(0.3)
        print(f"    curr_connections {server.stat('curr_connections')}, RSS {rss} -> {server.status('VmRSS')} kB; alive {server.alive()}")


def slow_reader():
    """Clients that ask for much and read nothing."""
    with Server("-t", "1") as server:
        s = server.connect(); s.sendall(b"set big 0 0 500000\r\n" + b"v" * 500000 + b"\r\n"); s.recv(100)
        rss, times, conns = server.status("VmRSS"), [], []
        quiet = []; normal(server, 2, quiet)
        for _ in range(50):
            c = server.connect(); c.setblocking(False)
            try:
                for _ in range(100): c.send(b"get big\r\n" * 1000)
            except BlockingIOError: pass
            conns.append(c)
        normal(server, 4, times)
        print(f"    alone: {percentiles(quiet)}\n    beside 50 such clients: {percentiles(times)}; RSS {rss} -> {server.status('VmRSS')} kB: {(server.status('VmRSS') - rss) / 50:.0f} kB each")
        cpu = server.cpu(); time.sleep(2); print(f"    CPU of 2 s while they do not read: {server.cpu() - cpu:.2f} s")
        for c in conns: c.close()
        time.sleep(0.3)
        print(f"    afterwards RSS {server.status('VmRSS')} kB; alive {server.alive()}")


def byte_by_byte():
    """1 MB values that come byte by byte."""
    with Server("-t", "1") as server:
        quiet, times, stop = [], [], False
        normal(server, 2, quiet)
        rss = server.status("VmRSS")
        conns = [server.connect() for _ in range(20)]
        for c in conns: c.sendall(b"set slow 0 0 1000000\r\n")
        def drip():
            while not stop:
                for c in conns: c.send(b"v")
        thread = threading.Thread(target=drip); thread.start()
        normal(server, 4, times)
        stop = True; thread.join()
        print(f"    alone: {percentiles(quiet)}\n    beside 20 such clients: {percentiles(times)} (the load is one thread with the client); RSS {rss} -> {server.status('VmRSS')} kB")
        print(f"    alive {server.alive()}")


def announced():
    """Clients that announce 1 MB and send a byte of it, or a get line without an end."""
    raise_files(4000)
    with Server("-c", "3000", "-t", "2") as server:
        for what, text in (("1 MB announced", b"set k 0 0 1000000\r\nv"), ("a get line of 100 KB", b"get " + b"x " * 50000)):
            rss = server.status("VmRSS")
            conns = [server.connect() for _ in range(500)]
            for c in conns: c.sendall(text)
            time.sleep(1)
            print(f"    {what}: {(server.status('VmRSS') - rss) / 500:.1f} kB each")
            for c in conns: c.close()
            time.sleep(0.5)
        print(f"    afterwards RSS {server.status('VmRSS')} kB; alive {server.alive()}")


def half_open():
    """Clients that end their side, or vanish without a word, in the middle of a command."""
    with Server("-o", "idle_timeout=1") as server:
        s = server.connect(); s.sendall(b"mn\r\nset k 0 0 10\r\nabc"); s.shutdown(socket.SHUT_WR)
        got = b""
        while True:
            part = s.recv(100)
            if not part: break
            got += part
        conns = [server.connect() for _ in range(200)]
        for c in conns: c.sendall(b"set k 0 0 100000\r\nabc")
        begun = time.monotonic()
        while server.stat("curr_connections") > 2 and time.monotonic() - begun < 10: time.sleep(0.1)
        print(f"    an ended side: {got!r} and closed; 200 silent ones are gone after {time.monotonic() - begun:.1f} s by idle_timeout=1; alive {server.alive()}")


def descriptors():
    """The process runs out of descriptors."""
    with Server("-c", "1000", "-t", "1") as server:
        first = server.connect()
        used = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + 20, used + 20))
        conns = [server.connect() for _ in range(200)]  # The kernel completes them; they wait for accept.
        time.sleep(0.5)
        cpu = server.cpu(); time.sleep(2)
        spent = server.cpu() - cpu
        first.sendall(b"stats\r\n"); text = b""
        while not text.endswith(b"END\r\n"): text += first.recv(65536)
        current = text.split(b"curr_connections ")[1].split(b"\r")[0].decode()
        for c in conns[:100]: c.close()
        for c in conns[100:]: c.sendall(b"mn\r\n")
        begun, served = time.monotonic(), 0
        for c in conns[100:]:  # 20 have descriptors at a time.
            served += c.recv(10) == b"MN\r\n"; c.close()
        print(f"    {current} connections accepted; CPU of 2 s without descriptors: {spent:.2f} s; who waited: {served} of 100 served within {time.monotonic() - begun:.2f} s; alive {server.alive()}")


def small_memory():
    """A memory limit that is lower than one item."""
    with Server("-m", "64", "-I", "30m") as server, server.connect() as s:
        def tell(line): s.sendall(line); return s.recv(200)
        print("   ", tell(b"cache_memlimit 8\r\n"), tell(b"set a 0 0 1\r\na\r\n"))
        s.sendall(b"set big 0 0 20000000\r\n" + b"v" * 20000000 + b"\r\n"); print("   ", s.recv(200))
        print("   ", tell(b"set a 0 0 1\r\na\r\n"), tell(b"get a big\r\n"), f"alive {server.alive()}")
    with Server("-m", "2", "-I", "1m", "-M") as server, server.connect() as s:
        replies = {}
        for n in range(100):
            s.sendall(b"set k%d 0 0 100000\r\n" % n + b"v" * 100000 + b"\r\n"); r = s.recv(200); replies[r] = replies.get(r, 0) + 1
        print("    -m 2 -M, 100 values of 100,000 bytes:", replies)


def noreply():
    """Floods without replies, and huge multigets."""
    with Server("-t", "1") as server:
        rss = server.status("VmRSS")
        with server.connect() as s:
            begun = time.monotonic()
            line = b"set k 0 0 10 noreply\r\n0123456789\r\n" * 2000
            for _ in range(500): s.sendall(line)
            s.sendall(b"mn\r\n"); s.recv(10)
            took = time.monotonic() - begun
            print(f"    1,000,000 sets without reply: {took:.2f} s, RSS {rss} -> {server.status('VmRSS')} kB")
            begun = time.monotonic()
            s.sendall(b"get" + b" k" * 100000 + b"\r\n"); n = 0; tail = b""
            while not tail.endswith(b"END\r\n"):
                part = s.recv(1 << 20); n += len(part); tail = (tail + part)[-5:]
            print(f"    100,000 keys in one get: {n} bytes in {time.monotonic() - begun:.2f} s, RSS {server.status('VmRSS')} kB")
            s.sendall(b"get " + b"x " * (1 << 20)); got = s.recv(100)
            print(f"    a get of 2 MiB without an end: {got!r}; alive {server.alive()}")


CASES = [idle, limit, storm, slow_reader, byte_by_byte, announced, half_open, descriptors, small_memory, noreply]
for case in CASES:
    if len(sys.argv) < 3 or case.__name__ in sys.argv[2:]:
        print(f"{case.__name__}: {case.__doc__}", flush=True)
        try: case()
        except Exception as error: print(f"    FAILED {error!r}")
