"""TLS as clients see it: Python's ssl below pymemcache, certificates made by openssl while the tests run.

Also what memcached's operators do: client certificates by listener, and new certificates on a running node.
"""

import os
import shutil
import signal
import socket
import ssl
import subprocess
from contextlib import contextmanager

import pytest
from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient

from conftest import answers, free_port, running, wait_until

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def openssl(directory, *args):
    subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)


class Authority:
    """Makes certificates in a directory of its own."""

    def __init__(self, directory):
        self.directory = directory
        openssl(directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
        (directory / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for name in ("server", "client"):
            self.issue(name)

    def issue(self, name):
        openssl(self.directory, "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(self.directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", f"{name}.pem")

    def path(self, name):
        return str(self.directory / name)

    def context(self, identity=None, version=None):
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        if identity is not None:
            context.load_cert_chain(identity.path("client.pem"), identity.path("client.key"))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"))


@contextmanager
def serve_tls(authority, *args, listen=("", "notls:")):
    """A node with a listener for each prefix; yields the process and the ports. One listener must be plain."""
    ports = [free_port() for _ in listen]
    addresses = ",".join(f"{prefix}127.0.0.1:{port}" for prefix, port in zip(listen, ports))
    words = f"ssl_chain_cert={authority.path('server.pem')},ssl_key={authority.path('server.key')}"
    with running(["serve", "-m", "64", "-Z", "-l", addresses, "-o", words, *args]) as process:
        wait_until(lambda: answers(ports[list(listen).index("notls:")]), 10, "the node answers")
        yield process, ports


def connect(port, context, **kwargs):
    return Client(("localhost", port), tls_context=context, default_noreply=False, timeout=10, no_delay=True, **kwargs)


def serves(port, context):
    """Whether a client is served. TLS 1.3 clients hear of a refusal only when they read."""
    client = connect(port, context)
    try:
        return client.set("door", b"open")
    except (ssl.SSLError, ConnectionError, EOFError):
        return False
    except Exception as error:  # noqa: BLE001 - pymemcache has a name of its own for an end
        assert "close" in type(error).__name__.lower() or "Unexpected" in type(error).__name__, error
        return False
    finally:
        client.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_pymemcache(authority, version):
    with serve_tls(authority) as (_, (port, plain)):
        client = connect(port, authority.context(version=version))
        values = {f"k{i}": os.urandom(i * 37) for i in range(200)}
        assert client.set_many(values) == []
        assert client.get_many(list(values)) == values
        large = os.urandom(1_000_000)
        assert client.set("large", large) and client.get("large") == large
        assert client.incr("none", 1) is None and client.delete("k1")
        # The same items by the plain door.
        beside = Client(("127.0.0.1", plain), default_noreply=False, timeout=10)
        assert beside.get("large") == large and beside.get("k1") is None
        settings, stats = beside.stats("settings"), beside.stats()
        assert settings[b"ssl_enabled"] == b"yes" and settings[b"ssl_min_version"] == b"tlsv1.2"
        assert stats[b"ssl_handshake_errors"] == 0 and b"time_since_server_cert_refresh" in stats
        client.close()


def test_hash_client_over_several_nodes(authority):
    with serve_tls(authority) as (_, (one, _)), serve_tls(authority) as (_, (two, _)):
        client = HashClient([("localhost", one), ("localhost", two)], tls_context=authority.context(), timeout=10)
        values = {f"k{i}": b"v%d" % i for i in range(100)}
        assert client.set_many(values) == []
        assert client.get_many(list(values)) == values
        client.close()


def test_client_certificates_by_listener(authority, stranger):
    ca = f"ssl_ca_cert={authority.path('ca.pem')}"
    with serve_tls(authority, "-o", ca, listen=("", "btls:", "mtls:", "notls:")) as (_, ports):
        default, basic, mutual, _ = ports
        for identity, is_served in ((None, False), (authority, True), (stranger, False)):
            context = authority.context(identity)
            assert serves(default, context) and serves(basic, context)
            assert serves(mutual, context) is is_served
    for mode, expect in ((1, (True, True, False)), (2, (False, True, False)), (3, (False, True, False))):
        with serve_tls(authority, "-o", f"{ca},ssl_verify_mode={mode}") as (_, (port, _)):
            got = tuple(serves(port, authority.context(identity)) for identity in (None, authority, stranger))
            assert got == expect, mode


@pytest.mark.parametrize("how", ["hup", "refresh_certs"])
def test_new_certificates_on_a_running_node(authority, stranger, tmp_path, how):
    for name in ("server.pem", "server.key", "ca.pem"):
        shutil.copy(authority.path(name), tmp_path / name)

    class Files:
        path = staticmethod(lambda name: str(tmp_path / name))

    def refresh(port, answer):
        if how == "hup":
            process.send_signal(signal.SIGHUP)
        else:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(b"refresh_certs\r\n")
                assert connection.recv(1000).startswith(answer)

    with serve_tls(Files) as (process, (port, plain)):
        early = connect(port, authority.context())
        assert early.set("k", b"v")
        # A torn file changes nothing.
        (tmp_path / "server.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB")
        refresh(plain, b"Error loading the certificate chain: /")
        assert serves(port, authority.context())
        for name in ("server.pem", "server.key"):
            shutil.copy(stranger.path(name), tmp_path / name)
        refresh(plain, b"OK")
        wait_until(lambda: serves(port, stranger.context()), 10, "the new certificate is shown")
        assert not serves(port, authority.context())
        # Who was there before stays.
        assert early.get("k") == b"v"
        early.close()


def test_plain_clients_and_strange_words(authority):
    with serve_tls(authority) as (_, (port, plain)):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"get a\r\n")
            # A fatal alert, and the end.
            assert connection.recv(100)[:2] == b"\x15\x03"
            assert connection.recv(100) == b""
        old = authority.context()
        with pytest.warns(DeprecationWarning):
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        assert not serves(port, old)
        beside = Client(("127.0.0.1", plain), timeout=10)
        assert beside.stats()[b"ssl_handshake_errors"] >= 1


def test_sessions_are_resumed(authority):
    with serve_tls(authority, "-o", "ssl_session_cache") as (_, (port, plain)):
        context, session = authority.context(version=ssl.TLSVersion.TLSv1_2), None
        for _ in range(3):
            raw = socket.create_connection(("127.0.0.1", port), timeout=10)
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as connection:
                connection.sendall(b"version\r\n")
                assert connection.recv(100).startswith(b"VERSION ")
                assert connection.session_reused is (session is not None)
                session = connection.session
        beside = Client(("127.0.0.1", plain), timeout=10)
        assert beside.stats()[b"ssl_new_sessions"] == 1
