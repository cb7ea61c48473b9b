"""A static pool behind the proxy: a dead server is a miss and never a rehash; with replicas its keys live on."""

import os
import signal
import subprocess

import pylibmc
from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError

from conftest import answers, free_port, running, serve, up, wait_until

KEYS = [f"key-{i}" for i in range(300)]


def connect(port):
    return Client(("127.0.0.1", port), default_noreply=False, timeout=15, no_delay=True)


def try_set(client, key, value):
    try:
        return client.set(key, value)
    except MemcacheServerError:
        return False


def test_a_dead_server_is_a_miss_and_never_a_rehash():
    with up("--pool") as cluster:
        client = connect(cluster.port)
        for key in KEYS:
            client.set(key, b"before")
        port, pid = cluster.parts["node2"]
        os.kill(pid, signal.SIGKILL)
        found = client.get_many(KEYS)
        lost = [key for key in KEYS if key not in found]
        assert 50 < len(lost) < 200
        # Nobody else takes the dead server's keys.
        assert not [key for key in lost if try_set(client, key, b"elsewhere")]
        wait_until(lambda: answers(port), 20, "the server is back")
        wait_until(lambda: all(try_set(client, key, b"after") for key in lost), 20, "its keys can be written again")
        assert client.get_many(lost) == dict.fromkeys(lost, b"after")


def test_with_two_places_a_dead_server_costs_nothing_and_returns_empty():
    with up("--pool", "--replicas", "2") as cluster:
        client = connect(cluster.port)
        for key in KEYS:
            client.set(key, b"1")
        os.kill(cluster.parts["node1"][1], signal.SIGSTOP)
        try:
            # The first reads wait for a time-out each until the server is known to be down.
            wait_until(lambda: len(client.get_many(KEYS)) == len(KEYS), 20, "every key is read from its other place")
            for key in KEYS:
                wait_until(lambda: try_set(client, key, b"2"), 10, f"{key} is written to its other place")
        finally:
            os.kill(cluster.parts["node1"][1], signal.SIGCONT)

        def flushed():
            values = client.get_many(KEYS)
            assert set(values.values()) <= {b"2"}, "a value from before the stop"
            stats = client.stats()
            return stats[f"backend_127.0.0.1:{cluster.parts['node1'][0]}".encode()] == b"up"

        wait_until(flushed, 20, "the server is used again, flushed")
        assert set(client.get_many(KEYS).values()) <= {b"2"}


def test_counters_do_not_drift_between_places():
    with up("--pool", "--replicas", "2") as cluster:
        client = connect(cluster.port)
        client.set("n", b"10")
        assert client.incr("n", 5) == 15
        holders = []
        for name in ("node1", "node2", "node3"):
            with_copy = connect(cluster.parts[name][0])
            holders.append(with_copy.get("n"))
        assert sorted(holders, key=str) == sorted([b"15", None, None], key=str)


def test_flush_all_reaches_every_server():
    with up("--pool") as cluster:
        client = connect(cluster.port)
        for key in KEYS:
            client.set(key, b"v")
        assert client.flush_all()
        assert client.get_many(KEYS) == {}


def test_keys_lie_where_a_ketama_client_looks_for_them():
    """pylibmc with weighted ketama and our proxy over the same servers find each other's values."""
    ports = [free_port() for _ in range(3)]
    servers = [subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port)]) for port in ports]
    proxy_port = free_port()
    addresses = [f"127.0.0.1:{port}" for port in ports]
    try:
        for port in ports:
            wait_until(lambda port=port: answers(port), 10, "memcached answers")
        with running(["proxy", "-p", str(proxy_port), "--pool", ",".join(addresses)]):
            wait_until(lambda: answers(proxy_port), 10, "the proxy answers")
            behaviors = {"ketama_weighted": True, "ketama": True, "hash": "md5"}
            direct = pylibmc.Client(addresses, behaviors=behaviors)
            client = connect(proxy_port)
            for key in KEYS:
                direct.set(key, key)
            assert client.get_many(KEYS) == {key: key.encode() for key in KEYS}
    finally:
        for server in servers:
            server.kill()
            server.wait()
