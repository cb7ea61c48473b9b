"""pylibmc, and so libmemcached, which php-memcached stands on too."""

import pylibmc
import pytest


# The binary protocol is the node's alone: behind the proxy there is no word for a bucket in it.
pytestmark = pytest.mark.parametrize(
    ("port", "protocol"),
    [("node", "text"), ("proxy", "text"), ("pool", "text"), ("node", "binary")],
    indirect=True,
)


@pytest.fixture
def protocol(request):
    return request.param


@pytest.fixture
def client(port, protocol, request):
    behaviors = {"cas": True, "tcp_nodelay": True}
    client = pylibmc.Client([f"127.0.0.1:{port}"], binary=protocol == "binary", behaviors=behaviors)
    client.prefix = request.node.name.replace("[", "-").replace("]", "") + ":"
    return client


def test_store_and_fetch(client):
    k = client.prefix + "k"
    assert client.get(k) is None
    assert client.set(k, "v", time=60)
    assert client.get(k) == "v"
    assert not client.add(k, "w") and client.replace(k, "w")
    assert client.append(k, ">") and client.prepend(k, "<") and client.get(k) == "<w>"
    assert client.delete(k) and not client.delete(k)


def test_cas(client):
    k = client.prefix + "k"
    client.set(k, 1)
    value, version = client.gets(k)
    assert value == 1 and client.cas(k, 2, version) and not client.cas(k, 3, version)
    assert client.get(k) == 2


def test_numbers(client):
    k = client.prefix + "n"
    client.set(k, 10)
    assert client.incr(k, 5) == 15 and client.decr(k, 1) == 14
    with pytest.raises(pylibmc.NotFound):
        client.incr(client.prefix + "none")


def test_many(client):
    values = {f"{client.prefix}{i}": i for i in range(300)}
    assert client.set_multi(values) == []
    assert client.get_multi(list(values) + ["none"]) == values
    assert client.delete_multi(list(values))
    assert client.get_multi(list(values)) == {}


def test_large_and_too_large(client):
    k = client.prefix + "big"
    assert client.set(k, b"x" * 900_000) and len(client.get(k)) == 900_000
    with pytest.raises(pylibmc.Error):
        client.set(k, b"x" * 2_000_000)
    assert client.set(k, b"fine") and client.get(k) == b"fine"


def test_touch(client):
    k = client.prefix + "k"
    client.set(k, "v", time=100)
    assert client.touch(k, 200) and not client.touch(k + "none", 200)


def test_stats(client):
    ((_, stats),) = client.get_stats()
    assert int(stats["pid"]) > 0
