"""libmemcached's command-line tools, and memccapable beside the real memcached."""

import re
import subprocess

from conftest import answers, free_port, wait_until


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


def capable(port):
    """The ascii tests of memccapable, by name: passed or not."""
    done = subprocess.run(["memccapable", "-h", "127.0.0.1", "-p", str(port), "-a"], capture_output=True, text=True)
    found = dict(re.findall(r"^(ascii [a-z ]+?)\s*\[(pass|FAIL)\]", done.stdout, re.M))
    assert len(found) > 15, done
    return {name for name, result in found.items() if result == "pass"}


def test_memccapable_passes_what_the_real_one_passes(node_port):
    port = free_port()
    real = subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port)])
    try:
        wait_until(lambda: answers(port), 10, "memcached answers")
        assert capable(port) - capable(node_port) == set()
    finally:
        real.kill()
        real.wait()
