"""The JSON gate: what it lets through is plain JSON, what it refuses is named with its path."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import decimal
import enum
import json
import math
import time
import uuid
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from triggerflow_django import exceptions, jsongate

pytestmark = pytest.mark.once

NOON = dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)
FREE = jsongate.Limits(total_bytes=10**9, nodes=None, string_bytes=None)


class Color(enum.StrEnum):
    RED = "red"


class OldColor(str, enum.Enum):  # noqa: UP042 - the kind whose str() is not its value
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


class Half(float):
    pass


class Shout(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


Point = collections.namedtuple("Point", "x y")


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def refused(value: object, *, limits: jsongate.Limits = jsongate.ANSWER, root: str = "$") -> str:
    with pytest.raises(exceptions.JsonValueError) as caught:
        jsongate.check(value, limits=limits, root=root)
    return str(caught.value)


def parse_refused(text: str | bytes, *, limits: jsongate.Limits = jsongate.ANSWER) -> str:
    with pytest.raises(exceptions.JsonValueError) as caught:
        jsongate.parse(text, limits=limits)
    return str(caught.value)


def checked(value: object) -> tuple[Any, str]:
    """The copy, or why there is none."""
    try:
        return jsongate.check(value, limits=jsongate.VALUE), ""
    except exceptions.JsonValueError as error:
        return None, str(error)


def parts(value: Any) -> list[Any]:
    """The value, and every key and value below it."""
    found, todo = [], [value]
    while todo:
        item = todo.pop()
        found.append(item)
        if isinstance(item, dict):
            todo.extend((*item.keys(), *item.values()))
        elif isinstance(item, list):
            todo.extend(item)
    return found


# -- what passes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, (2, [3])), [1, [2, [3]]]),
        (Point(1, 2), [1, 2]),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        ([Color.RED, OldColor.RED, Shout("quiet")], ["red", "red", "quiet"]),
        ({OldColor.RED: 1}, {"red": 1}),
        ([Size.LARGE, Half(0.5)], [3, 0.5]),
        ([True, False, None], [True, False, None]),
        ({"": ""}, {"": ""}),
        ([-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
        ([1.7976931348623157e308, -0.0], [1.7976931348623157e308, -0.0]),
        ("grüße \U0001f600", "grüße \U0001f600"),
    ],
)  # fmt: skip
def test_subclasses_and_tuples_become_plain_values(value: object, plain: object) -> None:
    copy = jsongate.check(value, limits=jsongate.ANSWER)
    assert copy == plain
    types = {type(part) for part in parts(copy)}
    assert types <= {dict, list, str, int, float, bool, type(None)}
    assert jsongate.dumps(copy) == jsongate.dumps(plain)  # type: ignore[arg-type]


def test_a_bool_stays_a_bool() -> None:
    assert jsongate.check([True, 1], limits=jsongate.ANSWER) == [True, 1]
    assert jsongate.dumps(jsongate.check([True, 1], limits=jsongate.ANSWER)) == "[true,1]"


def test_the_copy_shares_nothing_with_the_value() -> None:
    inner: dict[str, Any] = {"n": [1]}
    value = {"a": inner, "b": inner}
    copy: Any = jsongate.check(value, limits=jsongate.ANSWER)
    inner["n"].append(2)
    inner["more"] = 1
    assert copy == {"a": {"n": [1]}, "b": {"n": [1]}}
    assert copy["a"] is not copy["b"]


def test_the_value_is_not_changed() -> None:
    value = {"a": (1, Color.RED), "b": [{"c": (2,)}]}
    jsongate.check(value, limits=jsongate.ANSWER)
    assert value == {"a": (1, Color.RED), "b": [{"c": (2,)}]}
    assert type(value["a"]) is tuple


def test_keys_keep_their_order() -> None:
    copy = jsongate.check({"z": 1, "a": 2, "m": 3}, limits=jsongate.ANSWER)
    assert jsongate.dumps(copy) == '{"z":1,"a":2,"m":3}'


# -- what does not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"order": {"when": NOON}}, "$.order.when: datetime is not JSON"),
        ({"a": [0, 1, 2, math.nan]}, "$.a[3]: NaN is not a finite number"),
        ([[math.inf]], "$[0][0]: Infinity is not a finite number"),
        (-math.inf, "$: -Infinity is not a finite number"),
        (Half("nan"), "$: NaN is not a finite number"),
        (decimal.Decimal("1.5"), "$: Decimal is not JSON"),
        ({"id": uuid.UUID(int=1)}, "$.id: UUID is not JSON"),
        ([{1, 2}], "$[0]: set is not JSON"),
        (b"text", "$: bytes is not JSON"),
        (object(), "$: object is not JSON"),
        ({"f": len}, "$.f: builtin_function_or_method is not JSON"),
        (iter([1]), "$: list_iterator is not JSON"),
        (2**63, "$: the integer does not fit 64 bits"),
        ([-(2**63) - 1], "$[0]: the integer does not fit 64 bits"),
        ("a\0b", "$: the string contains NUL"),
        ({"a": ["\ud800"]}, "$.a[0]: the string contains a lone surrogate"),
        ({"x": {"a\0b": 1}}, '$.x: the key "a\\u0000b" contains NUL'),
        ({"\udfff": 1}, '$: the key "\\udfff" contains a lone surrogate'),
        ({"a": {3: 1}}, "$.a: the key 3 is of type int; JSON keys are strings"),
        ({None: 1}, "$: the key None is of type NoneType; JSON keys are strings"),
        ({("a", "b"): 1}, "$: the key is of type tuple; JSON keys are strings"),
        ({"due date": {"a-b": object()}}, '$["due date"]["a-b"]: object is not JSON'),
        ({"k" * 100: object()}, f'$["{"k" * 60}..."]: object is not JSON'),
    ],
)  # fmt: skip
def test_what_is_not_json_is_named_with_its_path(value: object, message: str) -> None:
    assert refused(value) == message


def test_the_path_starts_where_the_caller_says() -> None:
    assert refused({"a": object()}, root="payload") == "payload.a: object is not JSON"


def test_a_message_can_be_stored_whatever_the_key_is_made_of() -> None:
    assert refused({'"\ud800\n': [object()]}) == ('$: the key "\\"\\ud800\\n" contains a lone surrogate')
    assert refused({"a": {'"\n\x7f\u202e': [b""]}}).isprintable()


def test_keys_that_become_the_same_text_are_refused() -> None:
    class Other(str):
        __slots__ = ()
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            return self is other

    assert refused({"a": 1, Other("a"): 2}) == "$: two keys are the same text"


# -- limits ----------------------------------------------------------------------------------------


def test_32_levels_pass_and_33_do_not() -> None:
    assert jsongate.check(nested(32), limits=jsongate.ANSWER) == nested(32)
    assert refused(nested(33)) == f"${'[0]' * 32}: nested deeper than the 32 levels allowed"
    assert jsongate.parse("[" * 32 + "]" * 32, limits=jsongate.ANSWER) == nested(32)
    assert parse_refused("[" * 33 + "]" * 33) == "$: nested deeper than the 32 levels allowed"


def test_nesting_without_end_is_refused_without_recursion() -> None:
    bottomless = nested(100_000)
    assert "nested deeper" in refused(bottomless)
    while bottomless:  # let it go level by level
        bottomless = bottomless.pop()


def test_a_value_that_contains_itself_is_refused() -> None:
    ring: dict[str, Any] = {}
    ring["self"] = ring
    assert "nested deeper" in refused(ring)


def test_a_list_put_into_itself_many_times_is_refused_before_it_grows() -> None:
    bomb: Any = ["x" * 10] * 10
    for _ in range(20):
        bomb = [bomb] * 10
    start = time.perf_counter()
    assert "bytes, more than the 4194304 allowed" in refused(bomb, limits=jsongate.VALUE)
    assert time.perf_counter() - start < 30  # unfolded it would take years


def test_the_number_of_values_is_limited() -> None:
    limits = jsongate.Limits(total_bytes=10**6, nodes=10, string_bytes=None)
    assert jsongate.check([[1, 2, 3], {"a": 4, "b": 5}, 6, 7], limits=limits)
    assert refused([0] * 10, limits=limits) == "$: more than the 10 values allowed"
    assert refused({"a": [0] * 5, "b": [0] * 3}, limits=limits).startswith("$: more than the 10")


def test_strings_and_keys_are_measured_in_bytes() -> None:
    limits = jsongate.Limits(total_bytes=10**6, nodes=None, string_bytes=10)
    assert jsongate.check({"ü" * 5: "x" * 10}, limits=limits)
    assert refused(["ü" * 6], limits=limits) == "$[0]: the string has 12 bytes, more than the 10 allowed"
    assert refused({"k" * 11: 1}, limits=limits) == (f'$: the key "{"k" * 11}" has 11 bytes, more than the 10 allowed')


def test_the_size_is_that_of_the_compact_json() -> None:
    value = {"a": ["x" * 299_990, 1]}
    size = len(jsongate.dumps(value).encode())
    roomy = jsongate.Limits(total_bytes=size, nodes=None, string_bytes=None)
    tight = jsongate.Limits(total_bytes=size - 1, nodes=None, string_bytes=None)
    assert jsongate.check(value, limits=roomy) == value
    assert refused(value, limits=tight) == f"$: {size} bytes, more than the {size - 1} allowed"


@pytest.mark.parametrize("item", [-1.7976931348623157e308, -(2**63), False, "", "\x01" * 9, [], {}])
def test_the_size_is_exact_for_the_longest_of_each_kind(item: Any) -> None:
    value = {"\x01": [item] * 50}
    size = len(jsongate.dumps(value).encode())
    roomy = jsongate.Limits(total_bytes=size, nodes=None, string_bytes=None)
    tight = jsongate.Limits(total_bytes=size - 1, nodes=None, string_bytes=None)
    assert jsongate.check(value, limits=roomy) == value
    assert "bytes, more than" in refused(value, limits=tight)


def test_escapes_count_as_they_are_written() -> None:
    limits = jsongate.Limits(total_bytes=100, nodes=None, string_bytes=None)
    assert jsongate.check("\n" * 49, limits=limits)
    assert refused("\n" * 50, limits=limits) == "$: 102 bytes, more than the 100 allowed"
    assert refused("\x01" * 17, limits=limits) == "$: 104 bytes, more than the 100 allowed"


def test_what_is_far_too_large_is_not_written_out_to_be_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jsongate, "dumps", lambda value: pytest.fail("written out"))
    limits = jsongate.Limits(total_bytes=100, nodes=None, string_bytes=None)
    assert refused("x" * 1000, limits=limits) == "$: at least 1002 bytes, more than the 100 allowed"


def test_the_defaults_are_those_of_the_design() -> None:
    assert jsongate.Limits(262_144, 10_000, 65_536) == jsongate.ANSWER
    assert jsongate.Limits(4_194_304, None, None, 32) == jsongate.VALUE
    assert jsongate.Limits(33_554_432, None, None, 32) == jsongate.FANOUT


# -- text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (' {"a": [1, -2.5e3, true, null, "x"]}\n', {"a": [1, -2500.0, True, None, "x"]}),
        (b'"gr\xc3\xbc\xc3\x9fe"', "grüße"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\\u0000"', r"\u0000"),
        ('"' + "[" * 500 + r"\"" + "{" * 500 + '"', "[" * 500 + '"' + "{" * 500),
        ("[" + ",".join(["[]"] * 500) + "]", [[]] * 500),
        (str(-(2**63)), -(2**63)),
    ],
)
def test_json_text_is_read(text: str | bytes, value: object) -> None:
    assert jsongate.parse(text, limits=jsongate.ANSWER) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "$: not JSON: Expecting value (line 1, column 1)"),
        ("[1 2]", "$: not JSON: Expecting ',' delimiter (line 1, column 4)"),
        ("[1]\n[2]", "$: not JSON: Extra data (line 2, column 1)"),
        ("[1", "$: not JSON: Expecting ',' delimiter (line 1, column 3)"),
        ('"\t"', "$: not JSON: Invalid control character at (line 1, column 2)"),
        ("]" * 50 + "[" * 50, "$: not JSON: Expecting value (line 1, column 1)"),
        ('{"a": {"b": 1, "c": 2, "b": 1}}', '$.a: the key "b" is given twice'),
        ('{"a": 1, "\\u0061": 2}', '$: the key "a" is given twice'),
        ('{"a": NaN}', "$.a: NaN is not a finite number"),
        ("[-Infinity]", "$[0]: -Infinity is not a finite number"),
        ("[1e999]", "$[0]: Infinity is not a finite number"),
        ("[9223372036854775808]", "$[0]: the integer does not fit 64 bits"),
        (f'{{"n": {"9" * 5000}}}', "$.n: the integer does not fit 64 bits"),
        (r'{"a": "\u0000"}', "$.a: the string contains NUL"),
        (r'{"\ud800": 1}', '$: the key "\\ud800" contains a lone surrogate'),
        (r'["\ude00\ud83d"]', "$[0]: the string contains a lone surrogate"),
        ('"\ud800"', "$: the text contains a lone surrogate (character 1)"),
        ("\ufeff1", "$: the text starts with a byte order mark; send UTF-8 without one"),
        (b"\xef\xbb\xbf1", "$: the text starts with a byte order mark; send UTF-8 without one"),
        ("1".encode("utf-16"), "$: not UTF-8 (byte 0)"),
        (b'"\xe4"', "$: not UTF-8 (byte 1)"),
        ("[" * 100_000, "$: nested deeper than the 32 levels allowed"),
        ('{"a":' * 30_000, "$: nested deeper than the 32 levels allowed"),
        (r'["\\",' + "[" * 100, "$: nested deeper than the 32 levels allowed"),
    ],
)  # fmt: skip
def test_hostile_text_is_refused(text: str | bytes, message: str) -> None:
    assert parse_refused(text) == message


def test_the_size_of_the_text_is_looked_at_first() -> None:
    limits = jsongate.Limits(total_bytes=10, nodes=None, string_bytes=None)
    assert jsongate.parse(b"[1,  2, 3]", limits=limits) == [1, 2, 3]
    assert parse_refused(b"not JSON at all", limits=limits) == "$: 15 bytes, more than the 10 allowed"
    assert parse_refused('"' + "ü" * 5, limits=limits) == "$: 11 bytes, more than the 10 allowed"
    assert parse_refused(" " * 11, limits=limits) == "$: at least 11 bytes, more than the 10 allowed"


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * 40 + '"' + '\\"' * 2_000_000,  # the string never ends
        "[" + "[]," * 40 + '"' + "\\" * 4_000_001,
        '{"a":1,"a":2' + "".join(f',"k{n}":0' for n in range(300_000)) + "}",
        "1" * 4_000_000,
        "[" + "[]," * 1_000_000 + "[]]",
    ],
    ids=["quotes", "backslashes", "keys", "digits", "brackets"],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    start = time.perf_counter()
    with contextlib.suppress(exceptions.JsonValueError):
        jsongate.parse(text, limits=jsongate.VALUE)
    assert time.perf_counter() - start < 30  # quadratic: minutes to hours; linear: a second


# -- properties ------------------------------------------------------------------------------------

any_text = st.text(st.characters(exclude_categories=()), max_size=20)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**64), max_value=2**64),
    st.floats(),
    any_text,
    st.text(),
    st.binary(max_size=3),
    st.sampled_from([Color.RED, Size.LARGE, Half(0.5), "\0", "\ud800", dt.date(2020, 1, 1)]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(any_text, st.text(), st.integers()), inner, max_size=5),
        st.dictionaries(st.text(), inner, max_size=5),
    ),
    max_leaves=20,
)
good_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(min_value=-(2**63), max_value=2**63 - 1),
        good_text,
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(good_text, inner, max_size=5),
    max_leaves=20,
)


@given(values)
@example({"a": [1.5, (None,)]})
def test_whatever_passes_comes_back_from_json_unchanged(value: object) -> None:
    copy, message = checked(value)
    if message:
        assert message.startswith("$")
        assert "\0" not in message
        message.encode()  # fails on a lone surrogate
        return
    text = jsongate.dumps(copy)
    text.encode()
    assert json.loads(text) == copy
    assert jsongate.parse(text, limits=jsongate.VALUE) == copy
    assert jsongate.parse(text.encode(), limits=jsongate.VALUE) == copy
    assert jsongate.check(copy, limits=jsongate.VALUE) == copy
    for part in parts(copy):
        assert type(part) in {dict, list, str, int, float, bool, type(None)}
        assert not (isinstance(part, str) and "\0" in part)


@given(json_values)
def test_all_json_passes(value: object) -> None:
    assert jsongate.check(value, limits=FREE) == value


@given(json_values, st.integers(min_value=5, max_value=300))
def test_the_size_limit_is_exact(value: Any, total: int) -> None:
    size = len(jsongate.dumps(value).encode())
    limits = jsongate.Limits(total_bytes=total, nodes=None, string_bytes=None)
    if size <= total:
        assert jsongate.check(value, limits=limits) == value
    else:
        assert refused(value, limits=limits).endswith(f"bytes, more than the {total} allowed")


@given(st.text() | st.binary())
@example('{"a":')
def test_no_text_breaks_the_parser(text: str | bytes) -> None:
    try:
        value = jsongate.parse(text, limits=jsongate.ANSWER)
    except exceptions.JsonValueError:
        return
    assert value == json.loads(text)
