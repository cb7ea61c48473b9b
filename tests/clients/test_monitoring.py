"""What monitoring reads: every name that prometheus's memcached_exporter takes from a memcached, in the form in which
it takes it, and figures that do not lie when a dashboard computes with them."""

import re
import socket
import subprocess

import pytest
from pymemcache.client.base import Client

from conftest import answers, free_port, serve, wait_until

# What the exporter (0.14) and the client library below it read. It skips a name that is missing, and reports the whole
# server as down for a value that is no number.
GENERAL = """
    uptime time version get_hits get_misses delete_hits delete_misses incr_hits incr_misses decr_hits decr_misses
    cas_hits cas_misses cas_badval touch_hits touch_misses cmd_flush cmd_set rusage_user rusage_system bytes
    limit_maxbytes curr_items total_items bytes_read bytes_written curr_connections total_connections
    rejected_connections conn_yields listen_disabled_num evictions reclaimed store_too_large store_no_memory
    lru_crawler_starts direct_reclaims crawler_items_checked crawler_reclaimed moves_to_cold moves_to_warm
    moves_within_lru accepting_conns max_connections
""".split()
ITEMS = """
    number age hits_to_hot hits_to_warm hits_to_cold hits_to_temp crawler_reclaimed evicted evicted_nonzero evicted_time
    evicted_unfetched expired_unfetched outofmemory reclaimed tailrepairs mem_requested moves_to_cold moves_to_warm
    moves_within_lru number_hot number_warm number_cold age_hot age_warm
""".split()
SLABS = """
    get_hits delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits cmd_set chunk_size chunks_per_page
    total_pages total_chunks used_chunks free_chunks free_chunks_end
""".split()
SETTINGS_NUMBERS = """
    maxconns lru_crawler_sleep lru_crawler_tocrawl hot_lru_pct warm_lru_pct hot_max_factor warm_max_factor
""".split()
SETTINGS_WORDS = ["lru_crawler", "lru_maintainer_thread"]


def stats(port, *what):
    """The names and values of a `stats`, each of one line, in their order."""
    client = Client(("127.0.0.1", port))
    raw = client.raw_command(b" ".join([b"stats", *what]), b"END\r\n").decode()
    lines = [line for line in raw.split("\r\n") if line and line != "END"]
    assert all(re.fullmatch(r"STAT \S+( .*)?", line) for line in lines), raw
    return {name: value for name, value in (line[5:].partition(" ")[::2] for line in lines)}


def fill(port, count=10000):
    client = Client(("127.0.0.1", port))
    for number in range(count):
        client.set(f"key{number}", b"x" * (number % 700), expire=1000 if number % 2 else 0)
    for number in range(0, count, 10):
        client.get(f"key{number}")


@pytest.fixture(scope="module")
def real_port():
    port = free_port()
    real = subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port)])
    try:
        wait_until(lambda: answers(port), 10, "memcached answers")
        yield port
    finally:
        real.kill()
        real.wait()


@pytest.fixture(scope="module")
def small_port():
    """Less memory than what is stored in it."""
    with serve("-m", "2") as port:
        yield port


def test_the_exporter_finds_its_names_and_numbers(small_port):
    fill(small_port)
    general, items, slabs, settings = (stats(small_port, *what) for what in ([], [b"items"], [b"slabs"], [b"settings"]))
    for name in GENERAL:
        assert name == "version" or float(general[name]) >= 0, name
    for name in ITEMS:
        assert float(items[f"items:1:{name}"]) >= 0, name
    for name in SLABS:
        assert float(slabs[f"1:{name}"]) >= 0, name
    for name in SETTINGS_NUMBERS:
        assert float(settings[name]) >= 0, name
    for name in SETTINGS_WORDS:
        assert settings[name] in ("yes", "no"), name
    # It is shown as cmd_set less the cas commands.
    cas = sum(int(general[name]) for name in ("cas_misses", "cas_hits", "cas_badval"))
    assert int(general["cmd_set"]) >= cas
    assert float(slabs["total_malloced"]) > 0


@pytest.mark.parametrize("what", [[], [b"items"], [b"slabs"]], ids=["general", "items", "slabs"])
def test_memcached_has_no_name_that_is_missing_here(node_port, real_port, what):
    for port in (node_port, real_port):
        Client(("127.0.0.1", port)).set("a", b"x" * 20, noreply=False)

    def names(port):
        return {re.sub(r"\b\d+:", "N:", name) for name in stats(port, *what)}

    # Debian's version has one that later ones have not.
    assert names(real_port) - names(node_port) <= {"slab_reassign_evictions_nomem"}


def test_what_a_dashboard_computes_is_so(small_port):
    fill(small_port)
    general, items, slabs = (stats(small_port, *what) for what in ([], [b"items"], [b"slabs"]))
    number = {name: int(value) for name, value in slabs.items()}
    assert int(general["evictions"]) > 0 and general["evictions"] == items["items:1:evicted"]
    assert int(general["bytes"]) <= number["total_malloced"] <= int(general["limit_maxbytes"]) == 2 << 20
    assert general["bytes"] == items["items:1:mem_requested"]
    assert int(general["curr_items"]) == number["1:used_chunks"] == int(items["items:1:number"])
    assert number["1:total_chunks"] == number["1:used_chunks"] + number["1:free_chunks"]
    chunks = number["1:total_chunks"] * number["1:chunk_size"]
    assert number["total_malloced"] - number["1:chunk_size"] <= chunks <= number["total_malloced"]
    assert number["1:used_chunks"] * number["1:chunk_size"] >= int(general["bytes"])


def test_pymemcache_parses_all_forms(node_port):
    client = Client(("127.0.0.1", node_port))
    general = client.stats()
    assert general[b"curr_items"] >= 0 and general[b"version"] and general[b"rusage_user"] >= 0
    assert client.stats("settings")[b"maxconns"] == 1024
    for what in ("items", "slabs", "conns", "sizes"):
        assert isinstance(client.stats(what), dict), what


def test_names_of_the_crawler_and_the_lists_go_with_their_options():
    with serve("-o", "no_lru_crawler,no_lru_maintainer") as port:
        few = set(stats(port))
    with serve() as port:
        all_of_them = set(stats(port))
    assert (len(few), len(all_of_them)) == (84, 93)
    assert few < all_of_them


def test_conns_shows_who_listens_and_who_waits(node_port):
    with socket.create_connection(("127.0.0.1", node_port)) as halfway:
        halfway.sendall(b"set a 0 0 6\r\nabc")

        def states():
            conns = stats(node_port, b"conns")
            return {conns[name.replace("state", "addr")]: value for name, value in conns.items() if "state" in name}

        us = f"tcp:127.0.0.1:{halfway.getsockname()[1]}"
        wait_until(lambda: states().get(us) == "conn_nread", 10, "the connection waits for data")
        assert states()[f"tcp:127.0.0.1:{node_port}"] == "conn_listening"
        assert "conn_parse_cmd" in states().values()
