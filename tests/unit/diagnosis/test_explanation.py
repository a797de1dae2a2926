import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintenance_wsgi import MaintenanceMiddleware
from maintenance_wsgi.diagnosis.explanation import Explanation
from maintenance_wsgi.gate import Outcome
from tests.support.commands import invoke
from tests.support.data import load_cases
from tests.support.wsgi import header_environ, make_environ, shop, status_of

EXEMPT = "203.0.113.7"


@pytest.fixture(autouse=True)
def _on(flag: Path, ip_list: Path) -> None:
    flag.touch()
    ip_list.write_text(f"# office\n192.0.2.0/30\n{EXEMPT}, nope\n")


def explained(var: Path, environ: dict[str, Any], **options: Any) -> Explanation:
    return MaintenanceMiddleware(shop, var, **options).explain(make_environ() | environ)


def test_way_to_the_answer(var: Path) -> None:
    found = explained(
        var,
        {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": f"x, {EXEMPT}, 10.0.0.2"},
        trusted_proxies=["10.0.0.0/24", "unix:"],
    )
    assert found.outcome is Outcome.EXEMPT_CLIENT
    assert str(found).splitlines() == [
        "verdict  let through: the client is exempt",
        "peer     10.0.0.1             trusted by 10.0.0.0/24",
        "header   X-Forwarded-For      'x, 203.0.113.7, 10.0.0.2'",
        " #1      10.0.0.2             trusted by 10.0.0.0/24",
        " #2      203.0.113.7          not trusted",
        " #3      x                    ignored: a client can forge this",
        "client   203.0.113.7          the rightmost address that is not a trusted proxy",
        "exempt   yes, by 203.0.113.7 (line 3 of the list)",
        "flag     present",
        "path     /                    not exempt",
        "hint     X-Maintenance-Mode: exempt in a 503 means that the shop behind blocks on its own",
    ]


@pytest.mark.parametrize(
    ("environ", "options", "hint"),
    [
        pytest.param(
            {"HTTP_X_FORWARDED_FOR": EXEMPT},
            {},
            "X-Forwarded-For is ignored: 192.0.2.9 is not a trusted proxy",
            id="xff",
        ),
        pytest.param({"HTTP_FORWARDED": "for=a"}, {}, "Forwarded is ignored", id="forwarded"),
        pytest.param({"REMOTE_ADDR": ""}, {}, "'unix:'", id="unix"),
        pytest.param(
            {"REMOTE_ADDR": "10.0.0.1"},
            {"trusted_proxies": ["10.0.0.1"]},
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
            id="no-header",
        ),
        pytest.param(
            {"REMOTE_ADDR": "10.0.0.1"},
            {"trusted_proxies": ["10.0.0.1"], "client_ip_header": "X-Real-IP"},
            "proxy_set_header X-Real-IP $remote_addr;",
            id="no-single-header",
        ),
        pytest.param(
            {"REMOTE_ADDR": "10.0.0.1"},
            {"trusted_proxies": ["10.0.0.1"], "client_ip_header": "Forwarded"},
            "set client_ip_header to X-Forwarded-For",
            id="no-forwarded",
        ),
        pytest.param(
            {"HTTP_X_MY_IP": EXEMPT},
            {"client_ip_header": "X-My-IP"},
            "X-My-IP is ignored",
            id="own-header",
        ),
        pytest.param(
            {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": f"{EXEMPT}, 172.17.0.1"},
            {"trusted_proxies": ["10.0.0.1"]},
            "172.17.0.1 is private; if it is another of your proxies",
            id="private-hop",
        ),
        pytest.param(
            {"HTTP_X_REAL_IP": EXEMPT}, {}, f"X-Real-IP holds {EXEMPT}, which is exempt", id="other"
        ),
        pytest.param(
            {"REMOTE_ADDR": "2001:db8::1"}, {}, "uses IPv6; the list has only IPv4", id="family"
        ),
        pytest.param(
            {"REMOTE_ADDR": "172.17.0.1"},
            {},
            "172.17.0.1 is private, and no header names the visitor",
            id="translated",
        ),
        pytest.param(
            {"REMOTE_ADDR": "fd00::1"}, {}, "fd00::1 is private, and no", id="translated-ipv6"
        ),
        pytest.param(
            {"REMOTE_ADDR": "254.252.239.103"}, {}, "switch Pseudo IPv4 off", id="cloudflare"
        ),
        pytest.param(
            {"HTTP_X_ORIGINAL_FORWARDED_FOR": "198.51.100.1"},
            {},
            "set use-forwarded-headers in its ConfigMap",
            id="ingress-nginx",
        ),
        pytest.param(
            {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "1.2.3.4,"},
            {"trusted_proxies": ["10.0.0.1"]},
            "has an empty entry where the client's address",
            id="empty-entry",
        ),
        pytest.param(
            {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_REAL_IP": "nope"},
            {"trusted_proxies": ["10.0.0.1"], "client_ip_header": "X-Real-IP"},
            "has an unreadable entry where the client's address",
            id="unreadable-entry",
        ),
    ],
)
def test_hint_if_a_usual_mistake_shows(
    environ: dict[str, Any], options: dict[str, Any], hint: str, var: Path
) -> None:
    found = explained(var, environ, **options)
    assert found.outcome is Outcome.BLOCKED
    assert any(hint in line for line in found.hints), found.hints


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CF-Connecting-IPv6", "2001:db8:1::7"),
        ("X-Cluster-Client-IP", EXEMPT),
        ("X-Original-Forwarded-For", f"198.51.100.1, {EXEMPT}"),
        ("X-Vercel-Forwarded-For", f"{EXEMPT}:46532"),
        ("Forwarded", f'for="{EXEMPT}:1";proto=https, for="[2001:db8::1]"'),
        ("X-Any-Name", f"ip={EXEMPT}; port=46532"),
    ],
)
def test_every_header_that_holds_an_exempt_address_is_named(
    name: str, value: str, var: Path, ip_list: Path
) -> None:
    ip_list.write_text(f"{EXEMPT}\n2001:db8:1::/48\n")
    environ = header_environ([(name, value)]) | {"REMOTE_ADDR": "10.0.0.1", "HTTP_ACCEPT": "*/*"}
    hints = explained(var, environ, trusted_proxies=["10.0.0.1"]).hints
    named = [hint.partition(" holds ")[0].lower() for hint in hints if " which is exempt" in hint]
    assert named == [name.lower()]


@pytest.mark.parametrize(
    ("entries", "hint"),
    [
        ("2001:db8:1:2:8c1f:2b7e:5d3a:9e10", "2001:db8:1:2::/64 would cover the client"),
        ("2001:db8:1:2:8c1f::/80", "2001:db8:1:2::/64 would cover the client"),
        (f"{EXEMPT}, 2001:db8:77::1", "none of the IPv6 entries is near 2001:db8:1:2::5"),
        ("2001:db8:1:3::/64", None),
        ("2001:db8:1:3::1", None),
    ],
)
def test_entries_near_an_ipv6_client(
    entries: str, hint: str | None, var: Path, ip_list: Path
) -> None:
    ip_list.write_text(entries)
    hints = explained(var, {"REMOTE_ADDR": "2001:db8:1:2::5"}).hints
    assert [found.startswith(hint or "") for found in hints] == [True] * (hint is not None)


def test_client_in_the_list_gets_no_hint_about_the_list(var: Path, ip_list: Path) -> None:
    ip_list.write_text("2001:db8::7")
    environ = {"REMOTE_ADDR": "2001:db8::7", "PATH_INFO": "/status"}
    found = explained(var, environ, exempt_paths=["/status"])
    assert not [hint for hint in found.hints if "would cover" in hint]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_missing_header_has_no_hops(header: str, var: Path) -> None:
    found = explained(
        var, {"REMOTE_ADDR": "10.0.0.1"}, trusted_proxies=["10.0.0.1"], client_ip_header=header
    )
    assert found.resolution.hops == found.ignored == ()
    assert "missing or blank" in str(found)


def test_no_hint_if_all_is_well(var: Path) -> None:
    behind_a_shop, behind_a_proxy = explained(var, {"REMOTE_ADDR": EXEMPT}).hints
    assert "the shop behind blocks on its own" in behind_a_shop
    assert f"--header 'X-Forwarded-For: {EXEMPT}'" in behind_a_proxy
    assert explained(var, {"REMOTE_ADDR": "198.51.100.1"}).hints == ()


@pytest.mark.parametrize(
    ("value", "hop"),
    [
        ("1.2.3.4, unknown", "unknown              not an address: the search stops here"),
        ("1.2.3.4,", "''                   not an address: the search stops here"),
    ],
)
def test_hop_that_ends_the_search(value: str, hop: str, var: Path) -> None:
    environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": value}
    found = explained(var, environ, trusted_proxies=["10.0.0.1"])
    assert f" #1      {hop}" in str(found)
    assert found.resolution.client is None


def test_unix_socket_and_single_header(var: Path) -> None:
    environ = {"REMOTE_ADDR": "", "HTTP_X_REAL_IP": "198.51.100.1"}
    found = explained(var, environ, trusted_proxies=["unix:"], client_ip_header="X-Real-IP")
    assert found.resolution.peer.trusted_by == "unix:"
    assert str(found.resolution.client) == "198.51.100.1"
    assert "none of the 2 valid entries match; 1 more cannot be read" in str(found)
    assert " #1      198.51.100.1         the one address\n" in str(found)


def test_exempt_path_and_off(var: Path, flag: Path) -> None:
    found = explained(var, {"PATH_INFO": "/healthz"}, exempt_paths=["/healthz"])
    assert found.outcome is Outcome.EXEMPT_PATH
    assert "path     /healthz             exempt" in str(found)
    flag.unlink()
    found = explained(var, {})
    assert (found.outcome, found.outcome_if_on) == (Outcome.OFF, Outcome.BLOCKED)
    assert "flag     missing" in str(found)
    assert found.hints[-1] == "while maintenance is on, this request is blocked: 503"


def test_hop_that_decides_is_always_shown(var: Path) -> None:
    value = ", ".join(["203.0.113.66", "198.51.100.1", *["10.0.0.2"] * 40])
    environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": value}
    found = explained(var, environ, trusted_proxies=["10.0.0.0/8"])
    lines = str(found).splitlines()
    (cut,) = (number for number, line in enumerate(lines) if " ...  " in line)
    assert lines[cut].endswith("20 more, all trusted")
    assert lines[cut + 1].split()[1:] == ["198.51.100.1", "not", "trusted"]
    assert lines[cut + 2].split()[1] == "203.0.113.66"


def test_unknown_client_is_not_looked_up(var: Path) -> None:
    assert "exempt   not looked up" in str(explained(var, {"REMOTE_ADDR": ""}))


def test_list_that_cannot_be_read_is_told(var: Path, ip_list: Path) -> None:
    ip_list.unlink()
    ip_list.mkdir()
    assert "exempt   unknown which entry: " in str(explained(var, {}))


CASES = [case for case in load_cases("client_ip.json") if not case.get("config_may_reject")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_explanation_agrees_with_the_answer(case: dict[str, Any], var: Path, ip_list: Path) -> None:
    if case["expected"]:
        ip_list.write_text(case["expected"])
    middleware = MaintenanceMiddleware(
        shop, var, trusted_proxies=case["trusted_proxies"], client_ip_header=case["header"]
    )
    environ = make_environ(case["remote_addr"]) | header_environ(case["headers"])
    found = middleware.explain(dict(environ))
    assert found.as_dict()["client"] == case["expected"]
    if found.resolution.hops:
        # What was read is not said to be ignored, whatever the header is.
        lines = [line for line in str(found).splitlines() if line.startswith(" #")]
        ignored = [line for line in lines if "ignored" in line]
        assert len(lines) - len(ignored) == len(found.resolution.hops)
    admitted = status_of(middleware, environ) == "200 OK"
    assert (found.outcome is Outcome.EXEMPT_CLIENT) is admitted is (case["expected"] is not None)
    assert all(line.isprintable() for line in str(found).splitlines())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(peer=st.text(max_size=30), value=st.text(max_size=60), path=st.text(max_size=30))
def test_nothing_raises_and_nothing_breaks_a_line(
    peer: str, value: str, path: str, var: Path
) -> None:
    environ = {"REMOTE_ADDR": peer, "HTTP_FORWARDED": value, "PATH_INFO": path}
    found = explained(
        var, environ, trusted_proxies=["unix:", "10.0.0.0/8"], client_ip_header="Forwarded"
    )
    lines = str(found).split("\n")
    assert all(line.isprintable() for line in lines)
    hops = len(found.resolution.hops) + len(found.ignored)
    assert len(lines) == 7 + hops + len(found.hints)


def invoke_explain(var: Path, *arguments: str) -> tuple[int, str, str]:
    result = invoke("--dir", str(var), "explain", *arguments)
    return result.exit_code, result.stdout, result.stderr


def test_command_for_a_colleague_behind_nginx(var: Path) -> None:
    arguments = ["10.0.0.1", "--trusted-proxy=10.0.0.0/8"]
    headers = ["--header", "X-Forwarded-For: 198.51.100.7", "--header", f"X-Forwarded-For:{EXEMPT}"]
    code, stdout, _ = invoke_explain(var, *arguments, *headers)
    assert code == 0
    assert stdout.splitlines()[1] == "verdict  let through: the client is exempt"
    _, stdout, _ = invoke_explain(var, *arguments, "--client-ip-header=X-Real-IP", *headers)
    assert "verdict  blocked: 503" in stdout
    _, stdout, _ = invoke_explain(var, "10.0.0.1", "--path=/healthz", "--exempt-path=/healthz")
    assert "verdict  let through: the path is exempt" in stdout


def test_command_prints_json(var: Path) -> None:
    _, stdout, _ = invoke_explain(var, EXEMPT, "--json")
    found = json.loads(stdout)
    assert found["client"] == EXEMPT
    assert found["reason"] == "direct_peer"
    assert (found["allowed"], found["outcome"]) == (True, "exempt_client")
    assert (found["matched_entry"], found["matched_line"]) == (EXEMPT, 3)
    assert found["peer"] == {"text": EXEMPT, "address": EXEMPT, "trusted_by": None}
    _, stdout, _ = invoke_explain(var, "198.51.100.7", "--json")
    found = json.loads(stdout)
    assert (found["allowed"], found["outcome"]) == (False, "blocked")
    assert (found["matched_entry"], found["matched_line"]) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["1.2.3.4", "--header", "X-Forwarded-For"], "'X-Forwarded-For'"),
        (["1.2.3.4", "--trusted-proxy", "nope"], "'nope'"),
        (["1.2.3.4", "--client-ip-header", "a b"], "'a b'"),
        (["1.2.3.4", "--exempt-path", "x"], "'x'"),
    ],
)
def test_command_names_a_bad_value(arguments: list[str], named: str, var: Path) -> None:
    code, stdout, stderr = invoke_explain(var, *arguments)
    assert (code, stdout) == (2, "")
    assert named in stderr


@pytest.mark.parametrize(
    ("path", "near"), [("/api", "/api/"), ("/healthz/", "/healthz"), ("/caf\xc3\xa9", "/café/")]
)
def test_path_one_slash_away_from_an_exempt_one_has_a_hint(path: str, near: str, var: Path) -> None:
    paths = ["/api/", "/healthz", "/café/"]
    found = explained(var, {"PATH_INFO": path}, exempt_paths=paths)
    assert any(f"one slash away from '{near}'" in hint for hint in found.hints)


def test_command_matches_a_path_beyond_ascii(var: Path) -> None:
    _, stdout, _ = invoke_explain(var, "198.51.100.7", "--path=/café", "--exempt-path=/café")
    assert "let through: the path is exempt" in stdout
    assert "path     /café                exempt" in stdout
    _, stdout, _ = invoke_explain(var, "198.51.100.7", "--path=/café%FF", "--json")
    assert json.loads(stdout)["path"] == r"/café\xff"
