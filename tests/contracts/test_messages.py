"""Golden bytes: what was ever on the bus is decoded for ever."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import messages as m
from common import topics
from tests.contracts.examples import EXAMPLES

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden_bytes_decode_to_what_they_meant(name):
    golden = (GOLDEN / f"{name}-1.bin").read_bytes()
    assert m.decode(type(EXAMPLES[name]), golden) == EXAMPLES[name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_message_survives_encoding(name):
    assert m.decode(type(EXAMPLES[name]), m.encode(EXAMPLES[name])) == EXAMPLES[name]


@pytest.mark.parametrize("kind", m.STAGE_MESSAGES)
def test_the_plain_msgpack_package_reads_every_stage_message(kind):
    example = next(e for e in EXAMPLES.values() if type(e) is kind)
    plain = msgpack.unpackb(m.encode(example))
    assert plain == json.loads(msgspec.json.encode(example))
    assert plain["camera"] == "lobby"


@pytest.mark.parametrize("kind", m.JSON_MESSAGES)
def test_what_people_read_is_plain_json_with_its_version(kind):
    example = next(e for e in EXAMPLES.values() if type(e) is kind)
    assert json.loads(m.encode(example))["type"] == m.type_name(kind)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_older_decoder_ignores_new_fields(name):
    example = EXAMPLES[name]
    is_stage = isinstance(example, m.STAGE_MESSAGES)
    module = msgspec.msgpack if is_stage else msgspec.json
    extended = {**module.decode(m.encode(example)), "field_of_the_future": [1, {"a": None}]}
    assert m.decode(type(example), module.encode(extended)) == example


@pytest.mark.parametrize("name", EXAMPLES)
def test_another_version_is_refused_by_name(name):
    example = EXAMPLES[name]
    tag = m.type_name(type(example))
    other = m.encode(example).replace(tag.encode(), (tag[:-1] + "9").encode())
    with pytest.raises(m.PayloadError, match=tag):
        m.decode(type(example), other)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_sets_every_field_so_that_golden_bytes_cover_them(name):
    example = EXAMPLES[name]
    defaults = {f.name: f.default for f in msgspec.structs.fields(type(example)) if f.default is not msgspec.NODEFAULT}
    assert [field for field, default in defaults.items() if getattr(example, field) == default] == []


@given(st.binary(max_size=400), st.sampled_from([*m.STAGE_MESSAGES, *m.JSON_MESSAGES]))
def test_any_bytes_decode_or_raise_payload_error_and_nothing_else(payload, kind):
    try:
        m.decode(kind, payload)
    except m.PayloadError as error:
        assert m.type_name(kind) in str(error)  # noqa: PT017


@given(st.data())
def test_damaged_messages_decode_or_raise_payload_error(data):
    example = data.draw(st.sampled_from(list(EXAMPLES.values())))
    payload = bytearray(m.encode(example))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(m.PayloadError):
        assert isinstance(m.decode(type(example), bytes(payload)), type(example))


@pytest.mark.parametrize("spec", topics.TABLE, ids=lambda spec: spec.name)
def test_the_topic_table_is_sound(spec):
    levels = ["+"] * spec.levels.count("/")
    assert topics.topic("home", spec.name, *levels).startswith(f"posebus/home/{spec.name}/")
    assert not spec.retain or spec.qos == 1  # a retained message must not be lost
    if spec.payload in m.STAGE_MESSAGES:
        assert (spec.qos, spec.retain, spec.encoding) == (0, False, "msgpack")
    else:
        assert spec.encoding == "json"


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "Lobby", "-x", "a" * 64, "a b"])
def test_a_name_that_would_break_topics_is_refused(name):
    with pytest.raises(ValueError, match="not a valid name"):
        topics.check_name("camera", name)
