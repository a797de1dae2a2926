import json
from bisect import bisect_left
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintenance_wsgi import ConfigError, ConfigTypeError
from maintenance_wsgi.state.flag import (
    Window,
    json_object,
    parse_flag,
    parse_time,
    render_flag,
    validate_window,
)

LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.mark.parametrize("data", [b"", b"\n", b" \t\r\n", b"{}", b'{"other": 1}'])
def test_flag_that_says_nothing_is_no_problem(data: bytes) -> None:
    assert parse_flag(data) == (Window(), ())


@pytest.mark.parametrize(
    "data",
    [
        b"back at 5",
        b"[]",
        b'"text"',
        b"null",
        b"{",
        b"\xff\xfe\0",
        b"[" * 60_000,
        b'{"retry_after": ' + b"9" * 5_000 + b"}",
    ],
    ids=lambda data: ascii(data[:20]),
)
def test_flag_that_holds_no_object_is_one_problem(data: bytes) -> None:
    details, problems = parse_flag(data)
    assert details == Window()
    assert len(problems) == 1


def test_all_details_are_read() -> None:
    details, problems = parse_flag(
        b'\xef\xbb\xbf{"message": "Umzug \xe2\x80\xa6", "until": "2033-12-01T18:00:00+01:00",'
        b' "retry_after": 0, "by": "ops@host", "since": "2033-12-01t16:00:00.5z", "x": []}'
    )
    assert not problems
    assert details == Window(
        message="Umzug …",
        until=datetime(2033, 12, 1, 17, tzinfo=UTC),
        retry_after=0,
        by="ops@host",
        since=datetime(2033, 12, 1, 16, 0, 0, 500_000, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("message", 7),
        ("message", ["a"]),
        ("until", 1_700_000_000),
        ("until", "2033-12-01T18:00:00"),
        ("until", "2033-12-01"),
        ("until", "2033-13-01T18:00:00Z"),
        ("until", "20331201T180000Z"),
        ("until", "tomorrow"),
        ("retry_after", -1),
        ("retry_after", True),
        ("retry_after", 1.5),
        ("retry_after", "300"),
        ("retry_after", 2**31 + 1),
        ("by", {}),
        ("since", False),
        ("messages", "a"),
        ("messages", {"de": 7}),
        ("messages", {"d": "a"}),
        ("messages", {"de, en": "a"}),
    ],
)
def test_wrong_type_counts_as_not_given_and_is_named(name: str, value: object) -> None:
    data = json.dumps({name: value, "message" if name != "message" else "by": "kept"}).encode()
    details, (problem,) = parse_flag(data)
    assert getattr(details, name) is None
    assert "kept" in {details.message, details.by}
    assert problem.startswith(name)


@pytest.mark.parametrize(
    ("opening", "closing", "name"),
    [(b"[", b"]", "a list"), (b'{"a":', b"}", "a dict")],
    ids=["list", "object"],
)
def test_value_nested_as_deep_as_json_reads_it_is_named(
    opening: bytes, closing: bytes, name: str
) -> None:
    def nested(depth: int) -> bytes:
        return b'{"until": %b1%b}' % (opening * depth, closing * depth)

    depths = range(12_000)
    too_deep = bisect_left(depths, x=True, key=lambda depth: json_object(nested(depth)) is None)
    assert 100 < too_deep < len(depths)
    for depth in depths[too_deep - 9 : too_deep]:
        assert parse_flag(nested(depth)) == (
            Window(),
            (f"until: {name} is not a valid value and is ignored",),
        )


def test_lone_surrogate_can_be_sent_to_a_visitor() -> None:
    details, _ = parse_flag(b'{"message": "a\\ud800b"}')
    assert details.message is not None
    assert details.message.encode() == b"a?b"


@given(
    st.text(),
    st.datetimes(datetime(2100, 1, 1), timezones=st.timezones()),  # noqa: DTZ001 (hypothesis adds the zone)
    st.integers(0, 2**31),
)
def test_what_is_written_reads_the_same(message: str, until: datetime, retry_after: int) -> None:
    details, problems = parse_flag(
        render_flag(
            validate_window(Window(message, {"pt_BR": message}, until, retry_after)).members()
        )
    )
    assert not problems
    assert details.until is not None
    assert details.until.timestamp() == pytest.approx(until.timestamp(), abs=1e-5)
    offset = until.utcoffset()
    assert offset is not None
    has_seconds = offset % timedelta(minutes=1)
    assert details.until.utcoffset() == (timedelta() if has_seconds else offset)
    assert details.retry_after == retry_after
    shown = "".join(letter for letter in message if letter in "\n\t" or category(letter) != "Cc")
    shown = shown if shown.strip() else ""
    assert details.message == shown.encode("utf-8", "replace").decode()
    assert details.messages == ({"pt-BR": details.message} if shown else {})


def test_blank_text_counts_as_none() -> None:
    data = rb'{"message": "\u00a0\n", "messages": {"de": "", "fr": "\t", "eo": " a"}}'
    assert parse_flag(data) == (Window(message="", messages={"eo": " a"}), ())


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"message": 7}, ConfigTypeError, "message"),
        ({"messages": "de"}, ConfigTypeError, "messages"),
        ({"messages": {"de": None}}, ConfigTypeError, "messages"),
        ({"messages": {7: "a"}}, ConfigTypeError, "messages"),
        ({"messages": {"de,en": "a"}}, ConfigError, "'de,en' is not a valid language tag"),
        ({"until": "2033-12-01"}, ConfigTypeError, "until"),
        ({"until": LATER.replace(tzinfo=None)}, ConfigError, "time zone"),
        ({"until": LATER - timedelta(hours=2)}, ConfigError, "past"),
        (
            {"until": datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))},
            ConfigError,
            "far",
        ),
        ({"retry_after": -1}, ConfigError, "retry_after"),
        ({"retry_after": True}, ConfigTypeError, "retry_after"),
        ({"retry_after": "300"}, ConfigTypeError, "retry_after"),
    ],
)
def test_bad_argument_is_named(
    arguments: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        validate_window(Window(**arguments))


def test_time_needs_an_offset() -> None:
    found = parse_time("2033-12-01 18:00:00-05:30")
    assert found is not None
    assert found.isoformat() == "2033-12-01T18:00:00-05:30"
    assert parse_time("2033-12-01 18:00:00") is None
    assert parse_time("2033-12-32 18:00:00Z") is None
