"""Processes of a running cluster are killed and stopped under load; every read is checked."""

import os
import signal
import time

import pytest

from conftest import alive, up, wait_until
from versions import Load


@pytest.fixture
def fresh():
    with up() as cluster:
        yield cluster


def wait_warm(load, more=2000):
    """Load has run for a while, with hits."""
    hits = load.hits
    wait_until(lambda: load.hits > hits + more, 30, "the load reads values")


def owned(cluster, *names):
    nodes = cluster.nodes()
    return sum(nodes[name]["buckets"] for name in names)


def test_a_killed_node_costs_only_misses(fresh, capsys):
    """The scenario of the README: kill -9, others take over within 2 s, it returns, nothing stale, no read errs."""
    with Load(fresh.port) as load:
        wait_warm(load)
        before = fresh.nodes()
        victim = before["node2"]
        assert victim["buckets"] > 10_000
        os.kill(victim["pid"], signal.SIGKILL)
        begun = time.monotonic()
        wait_until(lambda: owned(fresh, "node1", "node3") == 32768, 2, "its buckets are served by the others")
        taken_over = time.monotonic() - begun
        wait_warm(load)
        wait_until(lambda: fresh.nodes()["node2"]["buckets"] > 10_000, 30, "it takes part again")
        returned = time.monotonic() - begun
        after = fresh.nodes()["node2"]
        assert after["pid"] != victim["pid"] and alive(after["pid"])
        wait_until(lambda: owned(fresh, "node1", "node2", "node3") == 32768, 15, "all buckets are served")
        wait_warm(load)
    with capsys.disabled():
        print(f"\nnode killed: taken over in {taken_over:.2f} s, back with its share after {returned:.1f} s; {load.summary()}")
    load.verdict()


def test_every_key_can_be_written_two_seconds_after_a_kill(fresh):
    """The map says it, and the keys themselves do."""
    from pymemcache.client.base import Client

    client = Client(("127.0.0.1", fresh.port), default_noreply=False, timeout=15)
    keys = [f"key-{i}" for i in range(300)]
    os.kill(fresh.nodes()["node1"]["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 2
    for key in keys:
        wait_until(lambda: stored(client, key), max(0.1, deadline - time.monotonic()), f"{key} is stored")


def stored(client, key):
    from pymemcache.exceptions import MemcacheServerError

    try:
        return client.set(key, b"v") and client.get(key) == b"v"
    except MemcacheServerError:
        return False


def test_a_killed_manager_is_not_noticed(fresh):
    """kill -9 of the manager: it comes back, has forgotten nothing, no read fails, no generation repeats."""
    with Load(fresh.port) as load:
        wait_warm(load)
        before, map_before = fresh.ctl("status"), fresh.ctl("buckets")["buckets"]
        os.kill(fresh.parts["manager"][1], signal.SIGKILL)

        def back():
            try:
                return fresh.ctl("status")["term"] != before["term"]
            except RuntimeError:
                return False

        wait_until(back, 10, "the manager leads again")
        wait_until(lambda: owned(fresh, "node1", "node2", "node3") == 32768, 15, "all buckets are served")
        wait_warm(load)
        after, map_after = fresh.ctl("status"), fresh.ctl("buckets")["buckets"]
        assert after["cluster"] == before["cluster"] and int(after["term"]) > int(before["term"])
        assert map_after == map_before
    load.verdict()
    assert load.write_errors == [], load.write_errors[:5]


def test_a_stopped_node_serves_nothing_old(fresh, capsys):
    """SIGSTOP for longer than its lease: after W the others own its buckets; woken up, it refuses."""
    with Load(fresh.port) as load:
        wait_warm(load)
        victim = fresh.nodes()["node3"]
        os.kill(victim["pid"], signal.SIGSTOP)
        try:
            begun = time.monotonic()
            wait_until(lambda: owned(fresh, "node1", "node2") == 32768, 20, "the others own its buckets after W")
            taken_over = time.monotonic() - begun
            wait_warm(load)
        finally:
            os.kill(victim["pid"], signal.SIGCONT)
        wait_until(lambda: fresh.nodes()["node3"]["buckets"] > 10_000, 30, "it takes part again")
        wait_warm(load)
    with capsys.disabled():
        print(f"\nnode stopped: taken over in {taken_over:.1f} s; {load.summary()}")
    load.verdict()


def test_drain_add_and_remove_under_load(fresh):
    with Load(fresh.port) as load:
        wait_warm(load)
        fresh.ctl("drain", "node1")
        wait_until(lambda: fresh.nodes()["node1"]["buckets"] == 0, 15, "node1 is drained")
        wait_until(lambda: owned(fresh, "node2", "node3") == 32768, 15, "the others own everything")
        wait_warm(load)
        with pytest.raises(RuntimeError):
            fresh.ctl("remove", "node2")
        fresh.ctl("undrain", "node1")
        wait_until(lambda: owned(fresh, "node1") > 10_000, 15, "node1 has its share again")
        wait_until(lambda: owned(fresh, "node1", "node2", "node3") == 32768, 15, "all buckets are served")
        wait_warm(load)
    load.verdict()


def test_everything_killed_at_once_comes_back(fresh):
    with Load(fresh.port, keys=50) as load:
        wait_warm(load)
        for node in fresh.nodes().values():
            os.kill(node["pid"], signal.SIGKILL)
        os.kill(fresh.parts["manager"][1], signal.SIGKILL)

        def whole():
            try:
                return owned(fresh, "node1", "node2", "node3") == 32768
            except RuntimeError:
                return False

        wait_until(whole, 60, "the cluster is whole again")
        wait_warm(load)
    load.verdict()
