"""php-memcached: its commands in both protocols, with a password, and PHP's sessions with their locks."""

import os
import re
import socket
import struct
import subprocess

import pytest

from conftest import free_port, running, wait_until

SCRIPTS = os.path.join(os.path.dirname(__file__), "php")


def start_php(script, *args, ini=()):
    settings = [word for setting in ini for word in ("-d", setting)]
    command = ["php", *settings, os.path.join(SCRIPTS, script), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def php(script, *args, ini=()):
    process = start_php(script, *args, ini=ini)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output.strip()


# The binary protocol is the node's alone: behind the proxy there is no word for a bucket in it.
@pytest.mark.parametrize(
    ("port", "protocol"),
    [("node", "text"), ("proxy", "text"), ("pool", "text"), ("node", "binary")],
    indirect=["port"],
)
def test_commands(port, protocol):
    assert php("commands.php", port, protocol) == "passed"


def speaks_binary(port):
    noop = struct.pack(">BBHBBHIIQ", 0x80, 0x0A, 0, 0, 0, 0, 0, 0, 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(noop)
            return connection.recv(24)[:1] == b"\x81"
    except OSError:
        return False


@pytest.fixture(scope="module")
def sasl_port(tmp_path_factory):
    """A node that asks for a password."""
    passwords = tmp_path_factory.mktemp("sasl") / "passwords"
    passwords.write_text("bert:secret\n")
    port = free_port()
    with running(["serve", "-p", str(port), "-S"], env={**os.environ, "MEMCACHED_SASL_PWDB": str(passwords)}):
        wait_until(lambda: speaks_binary(port), 10, "the node answers")
        yield port


def test_commands_with_a_password(sasl_port):
    assert php("commands.php", sasl_port, "binary", "bert", "secret") == "passed"


def test_a_wrong_password_opens_nothing(sasl_port):
    process = start_php("commands.php", sasl_port, "binary", "bert", "wrong")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and re.search("^(its code|set): ", output), output


def sessions(port, binary, *more):
    return [
        "session.save_handler=memcached",
        f"session.save_path=127.0.0.1:{port}",
        "session.use_cookies=0",
        "session.use_only_cookies=0",
        "session.cache_limiter=",
        f"memcached.sess_binary_protocol={'On' if binary else 'Off'}",
        "memcached.sess_lock_wait_min=5",
        "memcached.sess_lock_wait_max=20",
        "memcached.sess_lock_retries=2000",
        *more,
    ]


SESSIONS = pytest.mark.parametrize(
    ("port", "binary"),
    [("node", True), ("node", False), ("proxy", False), ("pool", False)],
    indirect=["port"],
)


@SESSIONS
def test_a_session_lasts_over_requests(port, binary):
    ini = sessions(port, binary)
    for visit in range(1, 4):
        assert php("session.php", f"lasting{binary}{port}", ini=ini) == str(visit)
    assert php("session.php", f"another{binary}{port}", ini=ini) == "1"


@SESSIONS
def test_visits_at_the_same_time_are_all_counted(port, binary):
    ini = sessions(port, binary)
    pages = [start_php("session.php", f"locked{binary}{port}", 30, ini=ini) for _ in range(6)]
    outputs = [page.communicate(timeout=60)[0].strip() for page in pages]
    assert sorted(outputs) == ["1", "2", "3", "4", "5", "6"], outputs


def test_sessions_with_a_password(sasl_port):
    ini = sessions(sasl_port, True, "memcached.sess_sasl_username=bert", "memcached.sess_sasl_password=secret")
    assert php("session.php", "secret", ini=ini) == "1"
    assert php("session.php", "secret", ini=ini) == "2"
