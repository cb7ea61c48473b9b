"""A version-checking client: load whose every read is judged.

Each key has one writer, which writes ever higher versions and sometimes deletes. A read is stale when it returns
a version below the last one that was acknowledged before the read began; a delete acknowledges every version
written so far. A miss is always allowed. A write whose outcome is unknown acknowledges nothing.
"""

import random
import threading
import time

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError


class Load:
    """Threads of readers and writers against one port; counts, and keeps what broke the promise."""

    def __init__(self, port, keys=200, writers=2, readers=2, seed=1):
        self.port = port
        self.keys = [f"versioned-{i}" for i in range(keys)]
        # The lowest version that a read may return, as of now.
        self.floor = dict.fromkeys(self.keys, 0)
        self.reads = self.hits = self.writes = self.unknown = 0
        self.stale = []
        self.read_errors = []
        self.write_errors = []
        self.last_read_s = 0.0
        self.stop = threading.Event()
        self.lock = threading.Lock()
        parts = [self.keys[i::writers] for i in range(writers)]
        self.threads = [threading.Thread(target=self.write, args=(part, seed + i)) for i, part in enumerate(parts)]
        self.threads += [threading.Thread(target=self.read, args=(seed + 100 + i,)) for i in range(readers)]

    def connect(self):
        return Client(("127.0.0.1", self.port), default_noreply=False, timeout=15)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def write(self, keys, seed):
        chance, client = random.Random(seed), self.connect()
        versions = dict.fromkeys(keys, 0)
        while not self.stop.is_set():
            key = chance.choice(keys)
            versions[key] += 1
            try:
                if chance.random() < 0.2:
                    client.delete(key)
                else:
                    client.set(key, b"%d" % versions[key])
                self.floor[key] = versions[key]
                with self.lock:
                    self.writes += 1
            except MemcacheServerError as error:
                # Not acknowledged: the outcome is unknown, or it did not happen.
                with self.lock:
                    self.unknown += 1
                    self.write_errors.append(str(error))
            except Exception as error:  # noqa: BLE001 - any other failure is a finding
                with self.lock:
                    self.write_errors.append(f"UNEXPECTED {error!r}")
                client.close()
                client = self.connect()

    def read(self, seed):
        chance, client = random.Random(seed), self.connect()
        while not self.stop.is_set():
            key = chance.choice(self.keys)
            floor, begun = self.floor[key], time.monotonic()
            try:
                value = client.get(key)
            except Exception as error:  # noqa: BLE001 - the scenario allows none
                with self.lock:
                    self.read_errors.append(repr(error))
                client.close()
                client = self.connect()
                continue
            with self.lock:
                self.reads += 1
                self.last_read_s = max(self.last_read_s, time.monotonic() - begun)
                if value is not None:
                    self.hits += 1
                    if int(value) < floor:
                        self.stale.append((key, int(value), floor))

    def verdict(self):
        """Nothing stale, no read failed, and there was something to judge."""
        assert self.stale == [], self.stale[:10]
        assert self.read_errors == [], self.read_errors[:10]
        assert [error for error in self.write_errors if "UNEXPECTED" in error] == []
        assert self.hits > 1000 and self.writes > 200, (self.hits, self.writes)

    def summary(self):
        return (
            f"{self.reads} reads ({self.hits} hits, slowest {self.last_read_s * 1000:.0f} ms), {self.writes} acknowledged "
            f"writes, {self.unknown} not acknowledged, {len(self.stale)} stale, {len(self.read_errors)} read errors"
        )
