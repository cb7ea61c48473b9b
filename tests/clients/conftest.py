"""Starts the real binary for the tests: a node alone, and whole clusters.

The binary's path comes in the environment variable DOLED. Every process is started on free ports and ended by
its pid; nothing waits for a fixed time, only for conditions with a deadline.
"""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

DOLED = os.environ.get("DOLED", "target/release/doled")


def wait_until(condition, seconds, what):
    """Polls until the condition holds; returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"version\r\n")
            return connection.recv(100).startswith(b"VERSION ")
    except OSError:
        return False


def alive(pid):
    """True while the process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def running(args, **kwargs):
    """A process of the binary, ended in the end."""
    process = subprocess.Popen([DOLED, *args], **kwargs)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def serve(*args, env=None):
    """A plain node, with more in its environment; yields its port."""
    port = free_port()
    with running(["serve", "-p", str(port), *args], env={**os.environ, **(env or {})}):
        wait_until(lambda: answers(port), 10, "the node answers")
        yield port


class Cluster:
    """A running `doled up`, read off what it printed."""

    def __init__(self, process):
        self.process = process
        self.parts = {}
        self.printed = []
        for line in process.stdout:
            self.printed.append(line)
            part = re.match(r"  (proxy|manager|node\d+)\s+(\S+):(\d+)\s+(\d+)\s", line)
            if part:
                self.parts[part[1]] = (int(part[3]), int(part[4]))
            if "Ctrl-C" in line:
                break
        # What comes later must not fill the pipe.
        threading.Thread(target=lambda: self.printed.extend(process.stdout), daemon=True).start()
        if "proxy" not in self.parts:
            process.wait()
            raise AssertionError("doled up did not come up:\n" + "".join(self.printed))

    @property
    def port(self):
        return self.parts["proxy"][0]

    def ctl(self, *args):
        manager = f"127.0.0.1:{self.parts['manager'][0]}"
        done = subprocess.run([DOLED, "ctl", "--manager", manager, "--json", *args], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout)

    def nodes(self):
        return {node["name"]: node for node in self.ctl("nodes")["nodes"]}


@contextmanager
def up(*args):
    """A whole local cluster on free ports."""
    with running(["up", "--port", "0", *args], stdout=subprocess.PIPE, text=True) as process:
        yield Cluster(process)


@pytest.fixture(scope="session")
def node_port():
    with serve("-m", "64") as port:
        yield port


@pytest.fixture(scope="session")
def cluster():
    with up() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def pool_cluster():
    with up("--pool") as cluster:
        yield cluster


@pytest.fixture(params=["node", "proxy", "pool"])
def port(request):
    """The same test against a node, a managed cluster's proxy, and a static pool's proxy."""
    if request.param == "node":
        return request.getfixturevalue("node_port")
    return request.getfixturevalue("cluster" if request.param == "proxy" else "pool_cluster").port
