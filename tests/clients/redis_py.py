"""redis-py, standalone (`redis_py.py standalone`) and in cluster mode (`redis_py.py cluster`).

The same work as the clients in Rust (tests/src/clients.rs): write and read back round after round, "working" after the
first one, until standard input ends. Nothing is retried. Before a command the sockets are looked at: a connection that
the server closed between commands is made again, elsewhere.
"""

import os
import select
import socket
import sys
import threading

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry

KEYS = 300
TIMEOUT = 5


def addresses(variable):
    pairs = (address.rsplit(":", 1) for address in os.environ[variable].split(","))
    return [(host, int(port)) for host, port in pairs]


def closed(connection):
    sock = getattr(connection, "_sock", None)
    if sock is None:
        return False
    readable, _, _ = select.select([sock], [], [], 0)
    if not readable:
        return False
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


class Standalone:
    name = "redis-py-standalone"

    def __init__(self):
        self.addresses = addresses("CIRCLET_CLIENT_ADDRESSES")
        self.turn = 0
        self.client = None

    def command(self, *arguments):
        if self.client is not None and closed(self.client.connection):
            self.client.close()
            self.client = None
        if self.client is None:
            self.client = self.elsewhere()
        return self.client.execute_command(*arguments)

    def elsewhere(self):
        for _ in self.addresses:
            host, port = self.addresses[self.turn % len(self.addresses)]
            try:
                return redis.Redis(
                    host=host,
                    port=port,
                    single_connection_client=True,
                    retry=Retry(NoBackoff(), 0),
                    socket_timeout=TIMEOUT,
                )
            except redis.ConnectionError as error:
                refused = error
            self.turn += 1
        raise refused


class Cluster:
    name = "redis-py-cluster"

    def __init__(self):
        self.nodes = addresses("CIRCLET_CLUSTER_ADDRESSES")
        self.client = None

    def command(self, *arguments):
        if self.client is not None and any(closed(connection) for connection in self.connections()):
            self.client.close()
            self.client = None
        if self.client is None:
            self.client = RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in self.nodes],
                retry=Retry(NoBackoff(), 0),
                socket_timeout=TIMEOUT,
            )
        return self.client.execute_command(*arguments)

    def connections(self):
        for node in self.client.get_nodes():
            if node.redis_connection is not None:
                yield from list(node.redis_connection.connection_pool._available_connections)


class Worker:
    def __init__(self, client):
        self.client = client
        self.commands = 0
        self.errors = 0

    def write(self, key, number):
        self.ask(b"OK", "SET", key, self.value(key, number))

    def read(self, key, number):
        self.ask(self.value(key, number).encode(), "GET", key)

    def ask(self, expected, name, key, *rest):
        self.commands += 1
        try:
            reply = self.client.command(name, f"{self.client.name}:{key}", *rest)
        except (redis.RedisError, OSError) as error:
            self.error(f"{name} {key}: {type(error).__name__}: {error}")
            return
        if reply is True:
            reply = b"OK"
        if reply != expected:
            self.error(f"{name} {key}: {reply!r} instead of {expected!r}")

    @staticmethod
    def value(key, number):
        return f"{key} in round {number}"

    def error(self, words):
        self.errors += 1
        if self.errors <= 5:
            print(f"{self.client.name}: {words}", file=sys.stderr, flush=True)


def main():
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    worker = Worker({"standalone": Standalone, "cluster": Cluster}[sys.argv[1]]())
    number = 0
    while not over.is_set():
        number += 1
        for key in range(KEYS):
            worker.write(key, number)
        for key in range(KEYS):
            worker.read(key, number)
        if number == 1:
            print("working", flush=True)
    for key in range(KEYS):
        worker.read(key, number)
    print(f"{worker.client.name}: {worker.commands} commands, {worker.errors} errors", flush=True)
    sys.exit(worker.errors != 0)


main()
