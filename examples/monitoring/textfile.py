"""Write the state as metrics, for the textfile collector of Prometheus' node exporter.

    * * * * * python3 textfile.py /srv/shop/var /var/lib/node_exporter/maintenance.prom

as a line of a crontab keeps them fresh. If the state cannot be read, the file stays as it is, and
its age tells.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

HELP = {
    "maintenance_enabled": "1 if maintenance mode is on, otherwise 0.",
    "maintenance_read_only": "1 if every client may read, otherwise 0.",
    "maintenance_since_timestamp_seconds": "When it was switched on.",
    "maintenance_until_timestamp_seconds": "When it is planned to end.",
    "maintenance_overdue_seconds": "For how long it has been on beyond its planned end.",
}


def metrics_of(status: dict[str, Any], now: float) -> dict[str, float]:
    """Return the metrics for what `status --json` printed at a time, in seconds since 1970."""
    metrics: dict[str, float] = {
        "maintenance_enabled": int(status["enabled"]),
        "maintenance_read_only": int(status["read_only"]),
    }
    for name in ("since", "until"):
        if status[name]:
            moment = datetime.fromisoformat(status[name]).timestamp()
            metrics[f"maintenance_{name}_timestamp_seconds"] = moment
    if until := metrics.get("maintenance_until_timestamp_seconds"):
        metrics["maintenance_overdue_seconds"] = max(0, now - until)
    return metrics


def write(path: str, text: str) -> None:
    """Replace a file as a whole: the exporter never reads half of it."""
    new = f"{path}.new"  # the exporter reads only names that end in .prom
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(new, path)


def main() -> None:
    """Ask for the state of a directory, and write it."""
    directory, path = sys.argv[1:]
    command = ["maintenance-wsgi", "--dir", directory, "status", "--json"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603 (our own command)
    metrics = metrics_of(json.loads(printed), datetime.now(UTC).timestamp())
    lines = [
        f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n{name} {value}\n"
        for name, value in metrics.items()
    ]
    write(path, "".join(lines))


if __name__ == "__main__":
    main()
