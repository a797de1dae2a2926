"""The examples of monitoring: what Prometheus and its exporters make of a shop that is ours."""

import json
import re
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from werkzeug.serving import make_server

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from tests.support.guides import EXAMPLES
from tests.support.http import ask
from tests.support.needs import need
from tests.support.processes import held_port, run, running, unmeasured

MONITORING = EXAMPLES / "monitoring"


def write_metrics(var: Path, code: int = 0) -> dict[str, float]:
    """Run the script; return what the exporter would read."""
    path = var.with_name("maintenance.prom")
    script = MONITORING / "textfile.py"
    run(sys.executable, script, var, path, env=unmeasured(), code=code)
    assert not path.with_name("maintenance.prom.new").exists()
    found = re.findall(r"^(maintenance_\w+) ([0-9.]+)$", path.read_text(), re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_textfile_tells_the_state(var: Path, mode: MaintenanceMode) -> None:
    off = {"maintenance_enabled": 0, "maintenance_read_only": 0}
    assert write_metrics(var) == off
    mode.enable(read_only=True)
    found = write_metrics(var)
    assert found == off | {
        "maintenance_enabled": 1,
        "maintenance_read_only": 1,
        "maintenance_since_timestamp_seconds": found["maintenance_since_timestamp_seconds"],
    }
    mode.disable()
    assert write_metrics(var) == off


@pytest.mark.parametrize(("until", "is_overdue"), [("2001-09-09", True), ("2286-11-20", False)])
def test_textfile_tells_that_maintenance_is_overdue(
    until: str, var: Path, flag: Path, *, is_overdue: bool
) -> None:
    flag.write_text(json.dumps({"until": f"{until}T01:46:40Z"}))
    found = write_metrics(var)
    assert (found["maintenance_overdue_seconds"] > 7e8) is is_overdue
    assert (found["maintenance_until_timestamp_seconds"] == 1e9) is is_overdue


def test_textfile_is_left_to_age_if_the_state_is_unknown(var: Path, mode: MaintenanceMode) -> None:
    mode.enable()
    before = write_metrics(var)
    var.rename(var.with_name("elsewhere"))
    var.symlink_to(var)  # a loop, which not even root can follow
    assert write_metrics(var, code=1) == before


def test_prometheus_accepts_the_textfile(var: Path, flag: Path) -> None:
    promtool = need("promtool")
    flag.write_text(json.dumps({"until": "2001-09-09T01:46:40Z"}))
    write_metrics(var)
    path = var.with_name("maintenance.prom")
    found = run(promtool, "check", "metrics", given=path.read_text())
    assert found.stdout + found.stderr == ""


def test_prometheus_accepts_the_configuration() -> None:
    run(need("promtool"), "check", "config", "--lint-fatal", MONITORING / "prometheus.yaml")


WEB1 = '{instance="web1"}'
# Series, one value a minute; the alert, and its annotation at their end, or None.
ALERTS = {
    "overdue": (
        {f"maintenance_overdue_seconds{WEB1}": "0x50 60+60x20"},
        "MaintenanceOverdue",
        "maintenance mode is on for 10m 0s longer than planned",
    ),
    "overdue-a-moment": (
        {f"maintenance_overdue_seconds{WEB1}": "0x57 60+60x20"},
        "MaintenanceOverdue",
        None,
    ),
    "without-end": (
        {f"maintenance_enabled{WEB1}": "0x20 1x130"},
        "MaintenanceWithoutEnd",
        "maintenance mode is on for two hours, and has no planned end",
    ),
    "with-end": (
        {
            f"maintenance_enabled{WEB1}": "1x150",
            f"maintenance_until_timestamp_seconds{WEB1}": "7200x150",
        },
        "MaintenanceWithoutEnd",
        None,
    ),
    "unknown": (
        {'node_textfile_mtime_seconds{instance="web1",file="/a/maintenance.prom"}': "1x60"},
        "MaintenanceUnknown",
        "unknown whether maintenance mode is on",
    ),
    "unknown-from-the-first-day": (
        {
            'up{instance="web1",job="node"}': "1x60",
            'node_textfile_mtime_seconds{instance="web2",file="/a/maintenance.prom"}': "60+60x60",
        },
        "MaintenanceUnknown",
        "unknown whether maintenance mode is on",
    ),
    "known": (
        {
            'up{instance="web1",job="node"}': "1x60",
            'node_textfile_mtime_seconds{instance="web1",file="/a/maintenance.prom"}': "60+60x60",
        },
        "MaintenanceUnknown",
        None,
    ),
    "down": (
        {
            'probe_success{instance="web1",job="shop"}': "0x60",
            'probe_success{instance="web1",job="shop_maintenance"}': "0x60",
        },
        "ShopDown",
        "web1 does not answer, and is not in maintenance mode",
    ),
    "down-on-purpose": (
        {
            'probe_success{instance="web1",job="shop"}': "0x60",
            'probe_success{instance="web1",job="shop_maintenance"}': "1x60",
        },
        "ShopDown",
        None,
    ),
}


@pytest.mark.parametrize("name", ALERTS)
def test_alert(name: str, tmp_path: Path) -> None:
    series, alert, summary = ALERTS[name]
    labels = dict(re.findall(r'(\w+)="([^"]*)"', next(iter(series))))
    shown = f"web1: {summary}" if alert != "ShopDown" else summary
    expected = [{"exp_labels": labels, "exp_annotations": {"summary": shown}}] if summary else []
    end = "150m" if alert == "MaintenanceWithoutEnd" else "60m"
    test = {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [{"eval_time": end, "alertname": alert, "exp_alerts": expected}],
    }
    path = tmp_path / "test.yaml"  # of which JSON is a subset
    rules = str(MONITORING / "rules.yaml")
    path.write_text(json.dumps({"rule_files": [rules], "tests": [test]}))
    run(need("promtool"), "test", "rules", path)


def failing_shop(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("503 Service Unavailable", [])
    return [b""]


def working_shop(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"Welcome"]


@pytest.mark.servers
def test_exporter_tells_maintenance_from_failure(
    var: Path, mode: MaintenanceMode, tmp_path: Path
) -> None:
    exporter = need("prometheus-blackbox-exporter")
    gates = [MaintenanceMiddleware(shop, var) for shop in (working_shop, failing_shop)]
    servers = [make_server("127.0.0.1", 0, gate, threaded=True) for gate in gates]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with held_port() as port:
        listener = ("127.0.0.1", port)
        command = [exporter, f"--config.file={MONITORING}/blackbox.yaml"]
        command += [f"--web.listen-address=127.0.0.1:{port}"]

        def probe(number: int) -> tuple[bytes, ...]:
            target = f"http://127.0.0.1:{servers[number].server_port}/"
            bodies = [
                ask(listener, f"/probe?module={module}&target={target}").body
                for module in ("shop", "shop_maintenance")
            ]
            return tuple(body.partition(b"\nprobe_success ")[2][:1] for body in bodies)

        with running(command, listener, tmp_path / "log", env=unmeasured()):
            assert (probe(0), probe(1)) == ((b"1", b"0"), (b"0", b"0"))
            mode.enable(read_only=True)
            assert probe(0) == (b"0", b"1")
            mode.enable(read_only=False)
            assert (probe(0), probe(1)) == ((b"0", b"1"), (b"0", b"1"))
            mode.set_exemptions(["127.0.0.1"])
            assert probe(0) == (b"0", b"1")
    for server in servers:
        server.shutdown()
        server.server_close()
