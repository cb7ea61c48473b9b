"""`doled up` as a newcomer meets it: starts, says what runs, ends without a trace, refuses what it must."""

import os
import signal
import socket
import subprocess
import time

from conftest import DOLED, alive, answers, free_port, running, up, wait_until


def doled(*args):
    return subprocess.run([DOLED, *args], capture_output=True, text=True, timeout=60)


def test_ctrl_c_leaves_nothing_behind():
    with up() as cluster:
        parts = dict(cluster.parts)
        home = next(line for line in cluster.printed if "State:" in line).split("State: ")[1].split(" (")[0].strip()
        assert set(parts) == {"manager", "node1", "node2", "node3", "proxy"}
        assert os.path.isdir(home)
        cluster.process.send_signal(signal.SIGINT)
        assert cluster.process.wait(20) == 0
        assert not [name for name, (_, pid) in parts.items() if alive(pid)]
        assert not [name for name, (port, _) in parts.items() if answers(port)]
        assert not os.path.exists(home)


def test_nothing_outlives_a_killed_up():
    with up() as cluster:
        parts = dict(cluster.parts)
        cluster.process.kill()
        cluster.process.wait()
        wait_until(lambda: not any(alive(pid) for _, pid in parts.values()), 15, "all parts are gone")


def test_a_second_up_on_the_same_ports_says_so():
    port = 20000 + free_port() % 10000
    with running(["up", "--port", str(port)], stdout=subprocess.PIPE, text=True) as first:
        for line in first.stdout:
            if "Ctrl-C" in line:
                break
        second = doled("up", "--port", str(port))
        assert second.returncode != 0
        assert f"127.0.0.1:{port}" in second.stderr and "in use" in second.stderr
        assert answers(port)


def test_the_parts_printed_are_the_processes():
    with up("--nodes", "2", "--memory", "32m") as cluster:
        assert set(cluster.parts) == {"manager", "node1", "node2", "proxy"}
        for name, (_, pid) in cluster.parts.items():
            line = open(f"/proc/{pid}/cmdline").read().split("\0")
            assert line[1] == {"manager": "manager", "proxy": "proxy"}.get(name, "serve"), line
        # The pid of a node is the node's own, not its guardian's: it listens itself.
        nodes = cluster.nodes()
        assert {nodes[name]["pid"] for name in nodes} == {cluster.parts[name][1] for name in nodes}


def test_mistakes_name_the_flag_and_start_nothing(tmp_path):
    for args, words in [
        (["up", "--replicas", "2"], ["--replicas 2", "--pool"]),
        (["up", "--pool", "--replicas", "5"], ["--replicas 5"]),
        (["up", "--nodes", "0"], ["--nodes", "0"]),
        (["up", "--memory", "lots"], ["--memory", "lots"]),
        (["up", "--port", "65500"], ["--port 65500"]),
        (["serve", "-p", "99999"], ["99999"]),
        (["serve", "-m", "x"], ["x"]),
        (["serve", "-I", "1"], ["1"]),
        (["serve", "-l", "not an address"], ["not an address"]),
        (["serve", "--manager", "127.0.0.1:1"], ["--managed"]),
        (["proxy"], ["--manager", "--pool"]),
        (["proxy", "--pool", "a:1,a:1"], ["a:1", "twice"]),
        (["proxy", "--manager", "a:1", "--pool", "b:2"], ["--manager", "--pool"]),
        (["manager", "--data", str(tmp_path / "none"), "--listen", "nowhere"], ["nowhere"]),
        (["bogus"], ["bogus"]),
    ]:
        done = doled(*args)
        assert done.returncode != 0, args
        for word in words:
            assert word in done.stderr, (args, word, done.stderr)


def test_a_config_file_is_checked(tmp_path):
    file = tmp_path / "proxy.toml"
    for text, words in [
        ("port = 1\nbogus = 2\n", ["bogus"]),
        ("port = 'x'\n", ["port"]),
        ("port = 0\npool = \n", ["2"]),
        ("port = 0\npool = 'a:1,,b'\n", ["pool", "a:1,,b"]),
    ]:
        file.write_text(text)
        done = doled("proxy", "--config", str(file))
        assert done.returncode != 0 and str(file) in done.stderr, (text, done.stderr)
        for word in words:
            assert word in done.stderr, (text, word, done.stderr)


def test_a_config_file_runs_a_proxy(tmp_path, node_port):
    port = free_port()
    file = tmp_path / "proxy.toml"
    file.write_text(f"port = {port}\npool = '127.0.0.1:{node_port}'\nthreads = 1\n")
    with running(["proxy", "--config", str(file)]):
        wait_until(lambda: answers(port), 10, "the proxy answers")


def test_state_is_kept_in_data(tmp_path):
    home = tmp_path / "state"
    with up("--data", str(home)) as cluster:
        first = cluster.ctl("status")
        other = doled("up", "--port", "0", "--data", str(home))
        assert other.returncode != 0 and str(home) in other.stderr
    assert home.is_dir()
    with up("--data", str(home)) as cluster:
        second = cluster.ctl("status")
        assert second["cluster"] == first["cluster"]
        assert int(second["term"]) > int(first["term"])
        assert int(second["map_version"]) > int(first["map_version"])


def test_lost_state_is_refused_and_no_new_cluster_begun(tmp_path):
    home = tmp_path / "state"
    with up("--data", str(home)):
        pass
    (home / "manager" / "manager.state").unlink()
    done = doled("up", "--port", "0", "--data", str(home))
    assert done.returncode != 0 and str(home / "manager" / "manager.state") in done.stderr, done.stderr
    assert not (home / "manager" / "manager.state").exists()


def test_a_foreign_or_corrupt_state_file_is_refused(tmp_path):
    home = tmp_path / "state"
    with up("--data", str(home)):
        pass
    (file,) = [path for path in (home / "manager").iterdir() if path.stat().st_size > 1000]
    for damage in [b"this is somebody else's file\n" * 300, bytes(file.stat().st_size), file.read_bytes()[:1000]]:
        file.write_bytes(damage)
        done = doled("manager", "--data", str(home / "manager"), "--listen", "127.0.0.1:0", "--bootstrap")
        assert done.returncode != 0 and str(file) in done.stderr, done.stderr
        assert file.read_bytes() == damage


def test_time_to_the_first_answer_is_printed(capsys):
    port = 20000 + free_port() % 10000
    begun = time.monotonic()
    with running(["up", "--port", str(port)], stdout=subprocess.DEVNULL):
        def stored():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                    connection.sendall(b"set k 0 0 1\r\nv\r\nget k\r\n")
                    reply = b""
                    while not reply.endswith(b"END\r\n"):
                        reply += connection.recv(4096) or b"END\r\n"
                    return b"VALUE k" in reply
            except OSError:
                return False
        wait_until(stored, 30, "a set and a get through the proxy")
        with capsys.disabled():
            print(f"\nfrom `up` to the first value read back: {time.monotonic() - begun:.2f} s")


def test_a_pipelined_get_sees_the_set_before_it_from_the_first_moment_on():
    """Right after the start a proxy's map may be older than the nodes'; the set waits, and so must the get."""
    for _ in range(5):
        with up() as cluster, socket.create_connection(("127.0.0.1", cluster.port), timeout=10) as connection:
            keys = [b"key-%d" % i for i in range(50)]
            connection.sendall(b"".join(b"set %s 0 0 1\r\nv\r\nget %s\r\n" % (key, key) for key in keys))
            expected = b"".join(b"STORED\r\nVALUE %s 0 1\r\nv\r\nEND\r\n" % key for key in keys)
            reply = b""
            while len(reply) < len(expected):
                reply += connection.recv(65536) or b"closed"
            assert reply == expected
