"""Many machines: one state in Redis, and the nodes that follow it. Needs the extra `redis`."""
