"""``settings.TRIGGERFLOW`` becomes one typed object, or a list of sentences that say what to do."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from triggerflow_django import conf, jsongate

pytestmark = pytest.mark.once

DEFAULTS = {
    "RUNNER": "inline",
    "DATABASE": "default",
    "LEASE_SECONDS": 60,
    "SWEEP_SECONDS": 5,
    "MAX_LOST": 5,
    "CHUNK_TIMEOUT": 300,
    "RETRY_BACKOFF": 1.0,
    "RETRY_BACKOFF_MAX": 3600,
    "MISSING_CHUNK_GRACE": 600,
    "FOR_EACH_WINDOW": 100,
    "CONCURRENT_CHUNKS": 100,
    "DEFAULT_QUEUE": "triggerflow",
    "DRAIN_SECONDS": 10,
    "MAX_BELLS": 16,
    "AUTO_CLOSE_TIMEOUT": 10.0,
    "RESOURCES": {},
    "ANSWER_MAX_BYTES": 262_144,
    "ANSWER_MAX_NODES": 10_000,
    "ANSWER_MAX_STRING_BYTES": 65_536,
    "VALUE_MAX_BYTES": 4 * 1024 * 1024,
    "FANOUT_MAX_BYTES": 32 * 1024 * 1024,
    "STREAM_ITEM_BYTES": 65_536,
    "STREAM_MAX_ITEMS": 100_000,
    "STREAM_RETENTION_SECONDS": 604_800,
    "JSON_MAX_DEPTH": 32,
}


@override_settings(TRIGGERFLOW={})
def test_an_empty_dict_gives_the_defaults() -> None:
    found = conf.get_settings()
    names = [field.name for field in dataclasses.fields(found)]
    assert {name: getattr(found, name) for name in names} == DEFAULTS
    assert conf.problems() == []


def test_no_setting_at_all_gives_the_defaults(settings: Any) -> None:
    del settings.TRIGGERFLOW
    assert conf.get_settings().LEASE_SECONDS == 60


@override_settings(TRIGGERFLOW={})
def test_the_default_limits_are_those_of_the_gate() -> None:
    found = conf.get_settings()
    assert found.answer_limits == jsongate.ANSWER
    assert found.value_limits == jsongate.VALUE
    assert found.fanout_limits == jsongate.FANOUT


def test_limits_follow_their_settings() -> None:
    given = {
        "ANSWER_MAX_BYTES": 1,
        "ANSWER_MAX_NODES": 2,
        "ANSWER_MAX_STRING_BYTES": 3,
        "VALUE_MAX_BYTES": 4,
        "FANOUT_MAX_BYTES": 5,
        "JSON_MAX_DEPTH": 6,
    }
    with override_settings(TRIGGERFLOW=given):
        found = conf.get_settings()
        assert found.answer_limits == jsongate.Limits(1, 2, 3, 6)
        assert found.value_limits == jsongate.Limits(4, None, None, 6)
        assert found.fanout_limits == jsongate.Limits(5, None, None, 6)


def test_override_settings_acts_at_once() -> None:
    with override_settings(TRIGGERFLOW={"LEASE_SECONDS": 2}):
        assert conf.get_settings().LEASE_SECONDS == 2
        with override_settings(TRIGGERFLOW={"LEASE_SECONDS": 3.5}):
            assert conf.get_settings().LEASE_SECONDS == 3.5
        assert conf.get_settings().LEASE_SECONDS == 2


@override_settings(TRIGGERFLOW={})
def test_the_settings_are_read_once_until_they_change() -> None:
    assert conf.get_settings() is conf.get_settings()


@override_settings(TRIGGERFLOW={"RESOURCES": {"mailer": "shop.mail.make_mailer"}})
def test_nothing_in_the_settings_can_be_changed() -> None:
    found: Any = conf.get_settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.MAX_LOST = 6
    with pytest.raises(TypeError):
        found.RESOURCES["other"] = "x.y"
    assert found.RESOURCES == {"mailer": "shop.mail.make_mailer"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"LEESE_SECONDS": 5},
            "TRIGGERFLOW['LEESE_SECONDS'] is not a setting: did you mean 'LEASE_SECONDS'?",
        ),
        ({"runner": "rq"}, "TRIGGERFLOW['runner'] is not a setting: did you mean 'RUNNER'?"),
        ({"QZX": 1}, "TRIGGERFLOW['QZX'] is not a setting: take it out"),
        ({7: 1}, "TRIGGERFLOW[7] is not a setting: take it out"),
        ({"RUNNER": "celery"}, "TRIGGERFLOW['RUNNER'] is 'celery': give \"inline\" or \"rq\""),
        ({"RUNNER": ["rq"]}, 'TRIGGERFLOW[\'RUNNER\'] is a list: give "inline" or "rq"'),
        (
            {"DATABASE": "elsewhere"},
            "TRIGGERFLOW['DATABASE'] is 'elsewhere': give an alias that settings.DATABASES has",
        ),
        (
            {"LEASE_SECONDS": "60"},
            "TRIGGERFLOW['LEASE_SECONDS'] is '60': give a number of seconds greater than 0",
        ),
        (
            {"LEASE_SECONDS": float("nan")},
            "TRIGGERFLOW['LEASE_SECONDS'] is nan: give a number of seconds greater than 0",
        ),
        (
            {"MISSING_CHUNK_GRACE": float("inf")},
            "TRIGGERFLOW['MISSING_CHUNK_GRACE'] is inf: give a number of seconds, 0 or more",
        ),
        (
            {"SWEEP_SECONDS": 0},
            "TRIGGERFLOW['SWEEP_SECONDS'] is 0: give a number of seconds greater than 0",
        ),
        (
            {"CHUNK_TIMEOUT": -1},
            "TRIGGERFLOW['CHUNK_TIMEOUT'] is -1: give a number of seconds greater than 0, or None for no limit",
        ),
        (
            {"RETRY_BACKOFF": True},
            "TRIGGERFLOW['RETRY_BACKOFF'] is True: give a number of seconds, 0 or more",
        ),
        (
            {"AUTO_CLOSE_TIMEOUT": None},
            "TRIGGERFLOW['AUTO_CLOSE_TIMEOUT'] is None: give a number of seconds, 0 or more",
        ),
        ({"MAX_LOST": 2.5}, "TRIGGERFLOW['MAX_LOST'] is 2.5: give a whole number, 1 or more"),
        ({"MAX_LOST": True}, "TRIGGERFLOW['MAX_LOST'] is True: give a whole number, 1 or more"),
        (
            {"FOR_EACH_WINDOW": 0},
            "TRIGGERFLOW['FOR_EACH_WINDOW'] is 0: give a whole number, 1 or more",
        ),
        (
            {"JSON_MAX_DEPTH": 201},
            "TRIGGERFLOW['JSON_MAX_DEPTH'] is 201: give a whole number from 1 to 200",
        ),
        (
            {"DEFAULT_QUEUE": ""},
            "TRIGGERFLOW['DEFAULT_QUEUE'] is '': give a text that is not empty",
        ),
        (
            {"RESOURCES": {"mailer": "not a path"}},
            "TRIGGERFLOW['RESOURCES'] is a dict: give a dict of names and dotted paths, "
            '{"mailer": "shop.mail.make_mailer"}',
        ),
        (
            {"RETRY_BACKOFF": 10, "RETRY_BACKOFF_MAX": 5},
            "TRIGGERFLOW['RETRY_BACKOFF'] is 10, more than RETRY_BACKOFF_MAX, 5: lower the first or raise the second",
        ),
        (["RUNNER"], "settings.TRIGGERFLOW is a list: give a dict"),
        (None, "settings.TRIGGERFLOW is None: give a dict"),
    ],
)
def test_a_mistake_is_a_sentence_that_says_what_to_do(given: Any, sentence: str) -> None:
    with override_settings(TRIGGERFLOW=given):
        assert conf.problems() == [sentence]
        with pytest.raises(ImproperlyConfigured) as caught:
            conf.get_settings()
        assert str(caught.value) == sentence
    assert conf.problems() == []


@override_settings(TRIGGERFLOW={"MAX_LOST": "5", "RUNER": "rq", "RETRY_BACKOFF": "x"})
def test_all_mistakes_are_named_at_once() -> None:
    assert len(conf.problems()) == 3
    with pytest.raises(ImproperlyConfigured) as caught:
        conf.get_settings()
    assert str(caught.value).splitlines() == conf.problems()


@override_settings(TRIGGERFLOW={"CHUNK_TIMEOUT": None, "RETRY_BACKOFF": 0, "LEASE_SECONDS": 0.5})
def test_the_edges_are_accepted() -> None:
    assert conf.problems() == []
    assert conf.get_settings().CHUNK_TIMEOUT is None


def test_a_secret_given_by_mistake_is_not_repeated_in_full() -> None:
    with override_settings(TRIGGERFLOW={"RESOURCES": {"token": "s3cr3t s3cr3t"}}):
        assert "s3cr3t" not in conf.problems()[0]


def test_the_table_has_a_row_for_every_setting() -> None:
    head, rule, *rows = conf.settings_table().splitlines()
    assert head == "| Setting | Default | Meaning |"
    assert rule == "|---|---|---|"
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [cell[0] for cell in cells] == [f"`{name}`" for name in DEFAULTS]
    assert all(len(cell) == 3 and cell[2].endswith(".") for cell in cells)
    assert '| `RUNNER` | `"inline"` | Where chunks run' in conf.settings_table()
    assert "| `CHUNK_TIMEOUT` | `300` |" in conf.settings_table()
