"""pymemcache, as Django uses it and as it comes."""

import time

import pytest
from pymemcache import serde
from pymemcache.client.base import Client, PooledClient
from pymemcache.exceptions import MemcacheClientError, MemcacheIllegalInputError
from pymemcache.client.hash import HashClient


@pytest.fixture
def client(port, request):
    client = Client(("127.0.0.1", port), default_noreply=False, timeout=10, no_delay=True)
    client.key_prefix = request.node.name.replace("[", "-").replace("]", "").encode() + b":"
    yield client
    client.close()


def test_store_and_fetch(client):
    assert client.get("k") is None
    assert client.set("k", b"v", expire=60, flags=7)
    assert client.get("k") == b"v"
    assert client.add("k", b"other") is False
    assert client.replace("k", b"w") is True
    assert client.append("k", b">") and client.prepend("k", b"<")
    assert client.get("k") == b"<w>"
    assert client.delete("k") and not client.delete("k")
    assert client.replace("k", b"x") is False
    assert client.append("k", b"x") is False


def test_cas(client):
    client.set("k", b"1")
    value, version = client.gets("k")
    assert value == b"1"
    assert client.cas("k", b"2", version) is True
    assert client.cas("k", b"3", version) is False
    assert client.cas("none", b"3", version) is None


def test_numbers(client):
    client.set("n", b"10")
    assert client.incr("n", 5) == 15
    assert client.decr("n", 20) == 0
    assert client.incr("absent", 1) is None
    client.set("text", b"abc")
    with pytest.raises(MemcacheClientError, match="non-numeric"):
        client.incr("text", 1)


def test_many(client):
    values = {f"k{i}": b"v%d" % i for i in range(500)}
    assert client.set_many(values) == []
    assert client.get_many(list(values) + ["none"]) == values
    assert len(client.gets_many(list(values)[:50])) == 50
    assert client.delete_many(list(values))
    assert client.get_many(list(values)) == {}


def test_noreply_is_carried_out_before_what_follows(client):
    for i in range(200):
        client.set("k", b"%d" % i, noreply=True)
        assert client.get("k") == b"%d" % i


def test_expiry(client):
    client.set("one", b"v", expire=1)
    client.set("negative", b"v", expire=-1)
    begun = time.monotonic()
    assert client.get("negative") is None
    while client.get("one") is not None:
        assert time.monotonic() - begun < 1.5
        time.sleep(0.01)
    assert time.monotonic() - begun > 0.95


def test_touch_and_gat(client):
    client.set("k", b"v", expire=1)
    assert client.touch("k", 60) is True
    assert client.touch("none", 60) is False
    key = client.key_prefix + b"k"
    assert client.raw_command(b"gat 60 " + key, b"END\r\n") == b"VALUE %s 0 1\r\nv\r\n" % key
    assert client.raw_command(b"gats 60 " + key, b"END\r\n").startswith(b"VALUE %s 0 1 " % key)
    time.sleep(1.2)
    assert client.get("k") == b"v"


def test_any_bytes_and_sizes(client):
    for value in [b"", b"\r\n", b"END\r\n", bytes(range(256)) * 40, b"x" * 1_000_000]:
        client.set("k", value)
        assert client.get("k") == value
    with pytest.raises(Exception, match="too large"):
        client.set("k", b"x" * 1_100_000)
    assert client.get("k") is None
    assert client.set("k", b"usable")
    assert client.get("k") == b"usable"


def test_bad_keys_never_reach_the_wire(client):
    with pytest.raises(MemcacheIllegalInputError):
        client.set("has space", b"v")


def test_version_and_stats(client):
    major, *rest = client.version().decode().split(".")
    assert int(major) >= 1 and len(rest) == 2
    stats = client.stats()
    assert stats[b"pid"] > 0 and stats[b"uptime"] >= 0 and stats[b"curr_connections"] >= 1


def test_pooled_and_hash_clients_with_serialisation(port):
    pooled = PooledClient(("127.0.0.1", port), serde=serde.pickle_serde, max_pool_size=4)
    hashed = HashClient([f"127.0.0.1:{port}"], serde=serde.pickle_serde, default_noreply=False)
    for client in (pooled, hashed):
        client.set("object", {"a": [1, 2.5, None]}, noreply=False)
        assert client.get("object") == {"a": [1, 2.5, None]}
        client.close()


def test_flush_all_of_a_node(node_port):
    client = Client(("127.0.0.1", node_port), default_noreply=False)
    client.set("flushed", b"v")
    assert client.flush_all()
    assert client.get("flushed") is None
