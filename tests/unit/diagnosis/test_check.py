import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from maintenance_wsgi.state.users import current_user
from tests.support.commands import invoke
from tests.support.mounts import mounted
from tests.support.needs import need, need_root
from tests.support.processes import COMMAND, run

GOOD_PAGE = """<!DOCTYPE html><html lang="en"><head><title>Soon</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>p { background: url(data:image/png;base64,AA==) }</style></head>
<body><p>Back soon. {{ message }} <a href="https://status.example/">Status</a></body></html>"""


def invoke_check(var: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run `check` for the user of the test, unless the arguments name another one."""
    result = invoke("--dir", str(var), "check", "--user", current_user(), *arguments)
    assert "Traceback" not in result.output
    if not result.stdout:
        return result.exit_code, result.stderr.splitlines()
    config, *lines = result.stdout.splitlines()
    assert config.startswith("config   ")
    return result.exit_code, lines


def test_root_is_asked_for_the_user_of_the_server(var: Path, ip_list: Path) -> None:
    need_root()
    result = invoke("--dir", str(var), "check")
    assert result.exit_code == 2
    assert "no fault found" not in result.stdout
    assert "for example --user www-data" in result.stderr
    ip_list.write_text("nope")
    result = invoke("--dir", str(var), "check")
    assert result.exit_code == 1
    assert "'nope'" in result.stdout


def test_faults_as_json(var: Path, ip_list: Path) -> None:
    arguments = ("--dir", str(var), "check", "--user", current_user(), "--json")
    found = invoke(*arguments)
    known = json.loads(found.stdout)
    assert (found.exit_code, known["user"], known["faults"]) == (0, current_user(), [])
    assert known["config"]["directory"] == str(var)
    ip_list.write_text("nope")
    found = invoke(*arguments, "--exempt-path", "/status")
    known = json.loads(found.stdout)
    assert (found.exit_code, len(known["faults"])) == (1, 1)
    assert "'nope'" in known["faults"][0]
    assert known["config"]["exempt_paths"] == ["/status"]
    assert known["config"]["source"] == "given here"


def test_no_fault(var: Path, flag: Path, ip_list: Path) -> None:
    assert invoke_check(var) == (0, [f"{var}: no fault found, for {current_user()}"])
    flag.touch()
    ip_list.write_text("203.0.113.7")
    assert invoke_check(var, "--trusted-proxy", "10.0.0.0/8")[0] == 0


@pytest.mark.parametrize(
    ("entries", "faults"),
    [
        ("203.0.113.7\nnope", ["line 2: 'nope' is not a valid IP address or network"]),
        ("0.0.0.0/0", ["line 1: '0.0.0.0/0' exempts the whole Internet or much"]),
        ("::/0", ["line 1: '::/0' exempts the whole Internet or much"]),
        ("0.0.0.0/1,128.0.0.0/1", ["'0.0.0.0/1' exempts the whole", "'128.0.0.0/1' exempts the"]),
        ("127.0.0.1 ::1", ["'127.0.0.1' exempts this host", "'::1' exempts this host"]),
        ("10.1.0.0/16", ["line 1: '10.1.0.0/16' covers a trusted proxy"]),
        ("::ffff:10.0.0.1", ["covers a trusted proxy"]),
    ],
)
def test_fault_of_the_list(entries: str, faults: list[str], var: Path, ip_list: Path) -> None:
    ip_list.write_text(entries)
    code, lines = invoke_check(var, "--trusted-proxy=10.0.0.0/8", "--trusted-proxy=unix:")
    assert code == 1
    assert len(lines) == len(faults)
    for fault, line in zip(faults, lines, strict=True):
        assert fault in line
        assert line.startswith(f"{ip_list}: ")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("back at 5", "is not a JSON object"),
        ('{"retry_after": "soon"}', "retry_after: 'soon' is not a valid value"),
        ('{"until": "2001-01-01T00:00:00Z"}', "2001-01-01T00:00:00+00:00 is in the past"),
    ],
)
def test_fault_of_the_flag_is_mended_as_it_says(
    content: str, fault: str, var: Path, flag: Path
) -> None:
    flag.write_text(content)
    code, (line,) = invoke_check(var)
    assert code == 1
    assert fault in line
    assert "enable" in line
    until = ["--until=+1h"] if "--until" in line else []
    assert invoke("--dir", str(var), "enable", *until).exit_code == 0
    assert invoke_check(var)[0] == 0


@pytest.mark.parametrize("name", [".maintenance.flag", ".maintenance.ip"])
def test_file_that_is_a_directory(name: str, var: Path) -> None:
    (var / name).mkdir()
    code, (line,) = invoke_check(var)
    assert code == 1
    assert line.startswith(f"{var / name}: ")


def test_directory_that_is_missing_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        code, (line,) = invoke_check(tmp_path / name)
        assert code == 1
        assert repr(str(tmp_path / name)) in line


def test_long_list_of_faults_ends_after_ten(var: Path, ip_list: Path, tmp_path: Path) -> None:
    ip_list.write_text("nope\n" * 24_007)
    page = tmp_path / "page.html"
    page.write_text(GOOD_PAGE.replace("<p>", "<img src=a.png>" * 12))
    code, lines = invoke_check(var, "--page", str(page))
    assert (code, len(lines)) == (1, 22)
    assert lines[9].startswith(f"{ip_list}: line 10: 'nope' is not")
    assert lines[10] == f"{ip_list}: and 23997 more"
    assert lines[21] == f"{page}: and 2 more"


def test_ten_faults_are_all_told(var: Path, ip_list: Path) -> None:
    ip_list.write_text("nope\n" * 10)
    assert len(invoke_check(var)[1]) == 10


def test_five_faults_at_once(var: Path, flag: Path, ip_list: Path, tmp_path: Path) -> None:
    flag.write_text('{"until": "2001-01-01T00:00:00Z"}')
    ip_list.write_text("127.0.0.1\nnope\n0.0.0.0/0\n")
    code, lines = invoke_check(var, "--page", str(tmp_path / "page.html"))
    assert (code, len(lines)) == (1, 5)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("Back soon", "{{ retryAfter }}"), "'{{ retryAfter }}' is not a placeholder"),
        (("Back soon", "{{ message|safe }}"), "'{{ message|safe }}' is not a placeholder"),
        (("Back soon", "{{# reason }}"), "'{{# reason }}' is not a placeholder"),
        (("Back soon", "{{# until }}soon"), "'{{# until }}' begins or ends no section"),
        (("Back soon", "soon{{/until}}"), "'{{/until}}' begins or ends no section"),
        (("Back soon", "<script>a={{message}}</script>"), "'{{message}}' is not safe in <script>"),
        (
            ("p { ", "p::after {content: '{{ back_in }}'} p { "),
            "'{{ back_in }}' is not safe in <st",
        ),
        (("<p>", "<p title={{ message }}>"), "'{{ message }}' is not safe in <p>, unquoted"),
        (("<p>", '<p onclick="a({{ message }})">'), "is not safe in the attribute onclick"),
        (("<p>", '<a href="{{ message }}"></a><p>'), "is not safe in the attribute href"),
        (("Back soon", "{% if until %}"), "'{% if until %}' is not a placeholder"),
        (('href="data:,"', 'href="/favicon.ico"'), "loads '/favicon.ico'"),
        (("<p>", '<img src="//cdn.example/a.png"><p>'), "loads '//cdn.example/a.png'"),
        (("<p>", "<script src='app.js'></script><p>"), "loads 'app.js'"),
        (("data:image/png;base64,AA==", '"logo.png"'), "loads 'logo.png'"),
        (("p { ", '@import "a.css"; p { '), "loads 'a.css'"),
        (("<p>", "<p style='background: url(b.png)'>"), "loads 'b.png'"),
        (("<p>", '<svg><use xlink:href="a.svg"/></svg><p>'), "loads 'a.svg'"),
    ],
)
def test_fault_of_the_page(change: tuple[str, str], fault: str, var: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(GOOD_PAGE)
    assert invoke_check(var, "--page", str(page))[0] == 0
    page.write_text(GOOD_PAGE.replace(*change))
    code, (line,) = invoke_check(var, "--page", str(page))
    assert code == 1
    assert fault in line


@pytest.mark.parametrize(
    "part",
    [
        "<script>setTimeout(again, {{ retry_after }} * 1000)</script>",
        "<p title='{{ message }}' lang=\"{{ language }}\">{{ message }}</p>",
        "<title>{{ message }}</title><style>p {}</style>{{ back_in }}",
        "{{# until }}{{# back_in }}{{ back_in }}{{/ back_in }}, {{ until_local }}{{/ until }}",
    ],
)
def test_placeholder_in_its_place_is_no_fault(part: str, var: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(GOOD_PAGE.replace("<p>", f"{part}<p>"))
    assert invoke_check(var, "--page", str(page))[0] == 0


def test_page_is_named_as_the_shell_completes_it(
    var: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.html").write_text(GOOD_PAGE)
    monkeypatch.chdir(tmp_path)
    assert invoke_check(var, "--page", "page.html")[0] == 0


def test_page_that_is_too_large_or_empty(var: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(GOOD_PAGE + "x" * 1024 * 1024)
    code, lines = invoke_check(var, "--page", str(page))
    assert code == 1
    assert "Larger than 1048576 bytes; put a regular file of at most" in lines[0]
    assert len(lines) == 1
    page.write_text(" \n")
    fault = f"{page}: is empty; write a page into it"
    assert invoke_check(var, "--page", str(page)) == (1, [fault])


def test_page_in_utf_16_is_a_fault(var: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(GOOD_PAGE, encoding="utf-16")
    fault = f"{page}: is in UTF-16, in which no placeholder is found; save it as UTF-8"
    assert invoke_check(var, "--page", str(page)) == (1, [fault])


def test_what_a_page_loads_from_an_exempt_path_is_no_fault(var: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(GOOD_PAGE.replace("<p>", '<img src="/static/a.png?v=1"><img src="/b.png"><p>'))
    code, (line,) = invoke_check(var, "--page", str(page), "--exempt-path=/static/")
    assert code == 1
    assert "loads '/b.png'" in line


def test_link_that_loads_nothing_is_no_fault(var: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(GOOD_PAGE.replace("<title>", '<link rel="canonical" href="/"><title>'))
    assert invoke_check(var, "--page", str(page))[0] == 0


@pytest.mark.parametrize("name", [".maintenance.flag", ".maintenance.ip"])
def test_link_to_nothing(name: str, var: Path) -> None:
    (var / name).symlink_to("nothing")
    code, (line,) = invoke_check(var)
    assert code == 1
    assert "is a dangling symlink" in line


@pytest.mark.parametrize("name", ["page.pt_BR.html", "page.de.at.html"])
def test_page_that_is_never_served_is_named(name: str, var: Path, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    for page in ("page.html", "page.pt-BR.html", "page.zh_TW.html", name):
        (pages / page).write_text(GOOD_PAGE)
    code, (line,) = invoke_check(var, "--page", str(pages))
    assert code == 1
    assert line.startswith(f"{pages / name}: is never served")


def test_directory_of_pages_needs_a_general_one(var: Path, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "page.de.html").write_text(GOOD_PAGE)
    code, (line,) = invoke_check(var, "--page", str(pages))
    assert code == 1
    assert line.startswith(f"{pages / 'page.html'}: does not exist")
    (pages / "page.html").write_text(GOOD_PAGE)
    assert invoke_check(var, "--page", str(pages))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--user", "no-such-user"], "'no-such-user'"),
        (["--trusted-proxy", "nope"], "'nope'"),
        (["--client-ip-header", "a b"], "'a b'"),
        (["--client-ip-header", ""], "''"),
        (["--exempt-path", "x"], "'x'"),
    ],
)
def test_bad_value_is_named(arguments: list[str], named: str, var: Path) -> None:
    code, lines = invoke_check(var, *arguments)
    assert code == 2
    assert named in lines[-1]


HERE = """
ip link set lo up
ip link add v0 type veth peer name v1
ip addr add 203.0.113.5/24 dev v0
ip -6 addr add 2001:db8::5/64 dev v0 nodad
ip link set v0 up
ip link set v1 up
ip route add default via 203.0.113.1
"$1" --dir "$2" check --user root
"$1" --dir "$2" enable $(printf ' --add-ip %s' $3)
"""


def test_addresses_of_this_host_and_its_gateway_are_faults(var: Path, ip_list: Path) -> None:
    need_root()
    need("ip")
    entries = ["203.0.113.5", "2001:db8::5", "203.0.113.1", "203.0.113.0/24", "2a00::9"]
    ip_list.write_text("\n".join(entries))
    result = run("unshare", "-n", "sh", "-c", HERE, "sh", COMMAND, var, " ".join(entries))
    own = "exempts this host, and every client behind a proxy that runs on it; remove it"
    gateway = "is this host's gateway, and may stand for every client behind it; remove it"
    faults = dict(zip(entries, [own, own, gateway], strict=False))
    assert result.stdout.splitlines()[1:5] == [
        *(
            f"{ip_list}: line {number}: '{entry}' {fault}"
            for number, (entry, fault) in enumerate(faults.items(), 1)
        ),
        f"Enabled maintenance mode in {var}",
    ]
    assert result.stderr.splitlines() == [
        f"Warning: {entry} {fault}" for entry, fault in faults.items()
    ]


@pytest.mark.parametrize("name", [".maintenance.flag", ".maintenance.ip"])
def test_file_that_is_mounted_by_itself_is_a_fault(name: str, tmp_path: Path) -> None:
    var, source = tmp_path / "my var", tmp_path / "source"
    var.mkdir()
    (var / name).touch()
    source.touch()
    with mounted(var / name, "--bind", source):
        remedy = "it is mounted by itself: mount its directory instead"
        expected = [f"{var / name}: cannot be replaced; {remedy}"]
        assert invoke_check(var) == (1, expected)
        source.unlink()
        expected = [f"{var / name}: was removed where it comes from; {remedy}"]
        assert invoke_check(var) == (1, expected)
    assert invoke_check(var)[0] == 0


def test_directory_that_is_read_only_has_another_remedy_than_one_of_another_user(
    var: Path,
) -> None:
    with mounted(var, "--bind", var):
        run("mount", "-o", "remount,bind,ro", var)
        code, (line,) = invoke_check(var)
    assert code == 1
    assert line.startswith(f"{var}: you cannot write in it, so enable will fail; make it writable")
    assert "systemd: ReadWritePaths=" in line


@pytest.mark.parametrize("size", ["16k", "0"], ids=["limit", "no-limit"])
def test_full_file_system_is_a_fault(size: str, var: Path) -> None:
    with mounted(var, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        assert invoke_check(var)[0] == 0
        with suppress(OSError):
            (var / "filler").write_bytes(bytes(1024 * 1024))
        remedy = "free some space, since enable could not write a message"
        full = (1, [f"{var}: its file system is full; {remedy}"])
        assert (invoke_check(var) == full) is (size != "0")


def test_remedy_can_be_typed_for_a_name_with_a_blank(open_folder: Path) -> None:
    need_root()
    var = open_folder / "my var"
    var.mkdir()
    (var / ".maintenance.ip").touch(0o600)
    code, (line,) = invoke_check(var, "--user=www-data")
    assert code == 1
    run("sh", "-c", line.partition("; run ")[2])
    assert invoke_check(var, "--user=www-data")[0] == 0


def test_other_user_must_reach_and_read_the_files(open_folder: Path) -> None:
    need_root()
    var = open_folder / "var"
    var.mkdir()
    ip_list = var / ".maintenance.ip"
    ip_list.write_text("203.0.113.7")
    ip_list.chmod(0o600)
    code, (line,) = invoke_check(var, "--user=www-data")
    assert (code, line) == (1, f"{ip_list}: www-data cannot read it; run chmod o+r {ip_list}")
    shutil.chown(ip_list, group="www-data")
    ip_list.chmod(0o640)
    assert invoke_check(var, "--user=www-data")[0] == 0
    ip_list.chmod(0o604)
    assert invoke_check(var, "--user=www-data")[0] == 1
    shutil.chown(ip_list, "www-data")
    ip_list.chmod(0o400)
    assert invoke_check(var, "--user=www-data")[0] == 0
    var.chmod(0o700)
    code, lines = invoke_check(var, "--user=www-data")
    assert lines == [f"{var}: www-data cannot search it; run chmod o+x {var}"]


def test_closed_directory_on_the_way_to_a_file_is_named_once(open_folder: Path) -> None:
    need_root()
    var, closed = open_folder / "var", open_folder / "closed"
    var.mkdir()
    closed.mkdir(mode=0o700)
    for name, text in {"ip": "203.0.113.7", "page.html": GOOD_PAGE}.items():
        (closed / name).write_text(text)
        (closed / name).chmod(0o644)
    remedy = f"{closed}: www-data cannot search it; run chmod o+x {closed}"
    for page in (closed, closed / "page.html"):
        assert invoke_check(var, "--user=www-data", "--page", str(page)) == (1, [remedy])
    (var / ".maintenance.ip").symlink_to(closed / "ip")
    for options in ([], ["--page", str(closed)]):
        assert invoke_check(var, "--user=www-data", *options) == (1, [remedy])


def test_flag_that_leads_to_no_place_is_named(var: Path, flag: Path) -> None:
    flag.symlink_to(var / "away" / "flag")
    fault = f"{flag}: is a dangling symlink; create its target, or remove the link"
    assert invoke_check(var) == (1, [fault])


@contextmanager
def acting_as_nobody() -> Iterator[None]:
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_user_who_may_not_write_or_read_is_told(open_folder: Path) -> None:
    need_root()
    var = open_folder / "var"
    var.mkdir()
    (var / ".maintenance.ip").touch(0o600)
    with acting_as_nobody():
        code, lines = invoke_check(var)
    assert code == 1
    remedy = "run the command as root or as the directory's owner"
    assert lines == [
        f"{var}: you cannot write in it, so enable will fail; {remedy}",
        f"{var / '.maintenance.ip'}: you cannot read it; run this as root to check it for nobody",
    ]


def test_umask_of_a_careful_root_is_found_out(open_folder: Path) -> None:
    need_root()
    var = open_folder / "var"
    var.mkdir()
    old = os.umask(0o077)
    try:
        invoke("--dir", str(var), "enable", "--ip=203.0.113.7")
    finally:
        os.umask(old)
    code, lines = invoke_check(var, "--user=www-data")
    assert code == 1
    assert [line.partition(": ")[0] for line in lines] == [
        str(var / ".maintenance.flag"),
        str(var / ".maintenance.ip"),
    ]
