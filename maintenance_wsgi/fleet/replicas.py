"""What the replicas of Redis have confirmed: what they lack is lost if Redis fails over now."""

import time

from maintenance_wsgi.fleet.connection import RedisConnection

CONFIRMATION_SECONDS = 3


def late_replicas(connection: RedisConnection, key: str) -> list[str]:
    """Wait until all replicas of a key's Redis have what was written last.

    Returns the addresses, as `host:port`, of those that do not confirm it in time. Raises
    StateError if Redis does not answer or refuses.
    """
    deadline = time.monotonic() + CONFIRMATION_SECONDS
    written, replicas = _positions(connection, key)
    while late := [name for name in replicas if replicas[name] < written]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
        # One that has gone away meanwhile has confirmed nothing.
        replicas = dict.fromkeys(replicas, -1) | _positions(connection, key)[1]
    return late


def _positions(connection: RedisConnection, key: str) -> tuple[int, dict[str, int]]:
    """Return how far the log of Redis is, and how much of it each replica has confirmed."""
    with connection.client() as client:
        owner = getattr(client, "get_node_from_key", None)  # of a cluster
        where = {"target_nodes": owner(key)} if owner else {}
        role, offset, *rest = client.execute_command("ROLE", **where)
        if role != b"master":
            return 0, {}
        found = {f"{host.decode()}:{port.decode()}": int(at) for host, port, at in rest[0]}
        if found:  # they are to confirm at once what this connection wrote
            client.execute_command("WAIT", len(found), 100, **where)
    return offset, found
