"""Auto-discovery: a client finds its nodes through one of them.

The released pymemcache has no ElastiCache client yet, so what its AWSElastiCacheHashClient does is done here: the
same request, the same end of the reply, the same fields.
"""

import os
import signal
import socket

import pytest
from conftest import answers, free_port, running, serve, wait_until
from pymemcache.client.hash import HashClient


@pytest.fixture
def nodes():
    with serve() as first, serve() as second:
        yield [first, second]


def raw(port, request, end):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        reply = b""
        while not reply.endswith(end):
            reply += connection.recv(4096)
        return reply


def discover(port, use_vpc):
    """The nodes, by name or by address."""
    lines = raw(port, b"config get cluster\r\n", b"\n\r\nEND\r\n").decode().splitlines()
    assert lines[0].startswith("CONFIG cluster 0 ") and int(lines[1]) > 0, lines
    nodes = [node.split("|") for node in lines[2].split(" ")]
    return [(ip if use_vpc else host, int(port)) for host, ip, port in nodes]


@pytest.mark.parametrize("use_vpc", [True, False])
def test_a_client_finds_all_nodes_and_uses_them(nodes, use_vpc):
    with serve("--discovery", ",".join(f"127.0.0.1:{port}" for port in nodes)) as endpoint:
        found = discover(endpoint, use_vpc)
        assert found == [("127.0.0.1", port) for port in nodes]
        client = HashClient(found, default_noreply=False, timeout=10)
        values = {f"k{i}": b"v%d" % i for i in range(100)}
        assert client.set_many(values) == []
        assert client.get_many(list(values)) == values
        client.close()
    counts = [len(raw(port, b"lru_crawler mgdump all\r\n", b"EN\r\n").splitlines()) for port in nodes]
    assert sum(counts) == 102 and min(counts) > 10, counts


def test_a_changed_file_is_read_by_signal(nodes, tmp_path):
    file, port = tmp_path / "nodes", free_port()
    file.write_text(f"1\n127.0.0.1:{nodes[0]}\n")
    with running(["serve", "-p", str(port), "--discovery", str(file)]) as process:
        wait_until(lambda: answers(port), 10, "the node answers")
        ask = lambda: raw(port, b"config get cluster\n", b"END\r\n")
        assert b"\r\n1\n127.0.0.1|127.0.0.1|" in ask()
        file.write_text(f"2\n127.0.0.1:{nodes[0]}\n127.0.0.1:{nodes[1]}\n")
        os.kill(process.pid, signal.SIGHUP)
        wait_until(lambda: b"\r\n2\n" in ask(), 10, "the new list")
        old = raw(port, b"get AmazonElastiCache:cluster\r\n", b"END\r\n")
        assert old.split(b"\r\n")[1].splitlines()[0] == b"2"
