"""libmemcached's command-line tools, and memccapable beside the real memcached."""

import re
import subprocess

from conftest import answers, free_port, serve, wait_until


def tool(name, port, *args, **kwargs):
    return subprocess.run([name, f"--servers=127.0.0.1:{port}", *args], capture_output=True, text=True, **kwargs)


def test_ping_and_stat(port):
    assert tool("memcping", port).returncode == 0
    stat = tool("memcstat", port)
    assert stat.returncode == 0 and re.search(r"uptime: \d+", stat.stdout), stat


def test_copy_exist_touch_cat_remove(port, tmp_path):
    file = tmp_path / f"tools-{port}"
    file.write_text("hello")
    key = file.name
    assert tool("memccp", port, "--expire=100", str(file)).returncode == 0
    assert tool("memcexist", port, key).returncode == 0
    assert tool("memctouch", port, "--expire=200", key).returncode == 0
    assert tool("memccat", port, key).stdout.strip() == "hello"
    assert tool("memcrm", port, key).returncode == 0
    assert tool("memccat", port, key).stdout.strip() == ""


# memccapable wants an error for `delete key 0 1 2`; memcached 1.6.45, whose behaviour the node has, deletes.
# (Debian's is 1.6.18.)
OTHER_VERSION = {"ascii delete", "ascii delete noreply"}


def memccapable(port, *args):
    return subprocess.run(["memccapable", "-h", "127.0.0.1", "-p", str(port), "-a", *args], capture_output=True, text=True)


def passes(port, name):
    """One test at a time: after a failure the tool goes on with a connection on which replies are left."""
    return "[pass]" in memccapable(port, "-T", name).stdout


def test_memccapable_passes_what_the_real_one_passes(node_port):
    port = free_port()
    real = subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port)])
    try:
        wait_until(lambda: answers(port), 10, "memcached answers")
        names = [line.split("[")[0].strip() for line in memccapable(port).stdout.splitlines() if "[" in line]
        assert len(names) > 20, names
        expected = {name for name in names if passes(port, name)} - OTHER_VERSION
        assert {name for name in expected if not passes(node_port, name)} == set()
    finally:
        real.kill()
        real.wait()


def test_copy_over_udp(tmp_path):
    """libmemcached sends its UDP requests without waiting for replies, so the file comes when it comes."""
    file = tmp_path / "udp-file"
    file.write_text("hello")
    with serve("-U", "-1", env={"MEMCACHED_PORT_FILENAME": str(tmp_path / "ports")}) as port:
        udp = re.search(r"UDP INET: (\d+)", (tmp_path / "ports").read_text())[1]
        assert tool("memccp", udp, "--udp", str(file)).returncode == 0
        wait_until(lambda: tool("memccat", port, "udp-file").stdout.strip() == "hello", 10, "the file came")
