"""Documents are read as the caller's own classes, or an error says which key of whom isn't so, and no value."""

from __future__ import annotations

import json
import traceback
import typing
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType, Optional

import psycopg
import pytest
import redis as redis_py
from pydantic import BaseModel, field_validator

from store import Config, DatabaseUnavailable, InvalidArgument, InvalidSettings, SettingsStore, UnknownVersion
from store.api import typed
from store.api.shapes import Misfit, to_shape
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.hostile import SECRET
from tests.helpers.shapes import Data, Keys, Model, Outer

Db = psycopg.Connection[dict[str, Any]]
KEY = f"user:{OKX_UID}:settings"
NUMBER = 41424344
typed_dict: Any = vars(typing)["TypedDict"]  # mypy wants to know its fields
SHAPES: list[Any] = [Model, Data, Keys]


def as_dict(settings: Any) -> dict[str, Any]:
    return settings if isinstance(settings, dict) else dict(vars(settings))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("source", ["redis", "db"])
async def test_a_document_is_read_as_a_class_with_the_catalogues_defaults(
    store: SettingsStore, user: str, shape: Any, source: Any
) -> None:
    saved = await store.save(user, "params", {"rsi_oversold": 20, "direction": "숏", "mine": [1]})
    found = await store.get_as(user, "params", shape, source=source)
    assert found
    assert (found.okx_uid, found.telegram_id, found.version) == (user, TELEGRAM_ID, saved.version)
    assert (found.setting_type, found.source, found.updated_at) == ("params", source, saved.updated_at)
    settings = as_dict(found.settings)
    assert (settings["rsi_oversold"], settings["direction"]) == (20.0, "숏")
    assert isinstance(settings["rsi_oversold"], float)
    assert settings["leverage"] == 10  # the catalogue's, not the class's
    assert settings["symbol_investments"] == {}
    plain = await store.get(user, "params", source=source)
    assert plain
    assert plain.settings == {"rsi_oversold": 20, "direction": "숏", "mine": [1]}
    if shape is Keys:
        assert found.settings.keys() > {"mine", "use_sl"}


async def test_it_is_read_as_get_reads(store: SettingsStore, user: str) -> None:
    await store.delete(user, "params")
    assert await store.get_as(user, "params", Data) is None
    with pytest.raises(UnknownVersion):
        await store.get_as(user, "dual_side", Outer, min_version=7)
    await store.patch(user, "dual_side", {"levels": [{"rsi_oversold": 1}]}, symbol="BTC-USDT-SWAP")
    found = await store.get_as(TELEGRAM_ID, "dual_side", Outer, symbol="BTC-USDT-SWAP", okx_uid=user)
    assert found
    assert (found.symbol, found.settings["levels"]) == ("BTC-USDT-SWAP", [Data(1.0)])
    assert "dual_side_entry_trigger" in found.settings


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_rogue_value_is_named_by_user_type_and_key_and_not_told(
    store: SettingsStore, user: str, redis: redis_py.Redis, shape: Any
) -> None:
    redis.set(KEY, json.dumps({"leverage": SECRET, "rsi_oversold": {"x": SECRET}, "direction": SECRET}))
    with pytest.raises(InvalidSettings) as caught:
        await store.get_as(user, "params", shape, source="redis")
    assert caught.value.problems.keys() == {"leverage", "rsi_oversold", "direction"}
    assert f"params of user {user} can't be read as {shape.__name__}; direction: " in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert caught.value.__context__ is None


class Choosy(BaseModel):
    leverage: int

    @field_validator("leverage")
    @classmethod
    def refuse(cls, value: int) -> int:
        raise ValueError(f"{value} and {SECRET}")


@dataclass
class Refusing:
    leverage: int

    def __post_init__(self) -> None:
        raise ValueError(f"{self.leverage} and {SECRET}")


@pytest.mark.parametrize(
    ("shape", "problem"),
    [(Choosy, {"leverage": "is refused: value_error"}), (Refusing, {"$": "Refusing refuses it: ValueError"})],
)
def test_what_a_class_says_itself_is_not_told(shape: type, problem: dict[str, str]) -> None:
    with pytest.raises(Misfit) as caught:
        to_shape({"leverage": NUMBER}, shape)
    assert caught.value.problems == problem
    assert not any(word in "".join(traceback.format_exception(caught.value)) for word in (SECRET, str(NUMBER)))


class Side(Enum):
    LONG = "long"
    SHORT = "short"


Percent = NewType("Percent", float)
INNER = {"leverage": 3, "rsi_oversold": 4}
READ: dict[str, tuple[Any, Any, Any]] = {
    "whole float": (int, 4.0, 4),
    "int as float": (float, 4, 4.0),
    "decimal": (Decimal, 0.1, Decimal("0.1")),
    "null": (None, None, None),
    "nothing known": (Any, [{}], [{}]),
    "choice": (Literal["a", 1], 1, 1),
    "member": (Side, "short", Side.SHORT),
    "new type": (Percent, 3, 3.0),
    "annotated": (Annotated[int, "unit"], 3, 3),
    "optional": (Optional[int], None, None),  # noqa: UP045 # an older form
    "one of several": (int | str, "a", "a"),
    "list": (list[float], [1, 2.5], [1.0, 2.5]),
    "any list": (list, [1, "a"], [1, "a"]),
    "object": (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
    "a class within": (dict[str, Data], {"a": INNER}, {"a": Data(4.0, leverage=3)}),
    "a model within": (list[Model], [INNER], [Model(rsi_oversold=4, leverage=3)]),
}
MISFITS: dict[str, tuple[Any, Any, dict[str, str]]] = {
    "text": (int, "4", {"k": "must be of type number, not string"}),
    "fraction": (int, 4.5, {"k": "must be a whole number"}),
    "true": (int, True, {"k": "must be of type number, not boolean"}),
    "number": (bool, 1, {"k": "must be of type boolean, not number"}),
    "null": (str, None, {"k": "must be of type string, not null"}),
    "not null": (None, 0, {"k": "must be of type null, not number"}),
    "huge": (float, 10**400, {"k": "must not be a number outside the range of a double"}),
    "choice": (Literal["a", 1], True, {"k": "must be one of: a, 1"}),
    "choice, a list": (Literal["a"], ["a"], {"k": "must be one of: a"}),
    "member": (Side, "up", {"k": "must be one of: long, short"}),
    "optional": (int | None, "a", {"k": "must be of type number, not string"}),
    "several": (int | str, [], {"k": "must be of type number, not array, or must be of type string, not array"}),
    "in a list": (list[float], [1, "a", None], {"k[1]": "must be of type number, not string"}),
    "in objects": (dict[str, list[int]], {"a": [1], "b": [1, "x"]}, {"k.b[1]": "must be of type number, not string"}),
    "in a class": (dict[str, Keys | None], {"a": {"rsi_oversold": "x"}},
                   {"k.a.leverage": "is missing", "k.a.rsi_oversold": "must be of type number, not string"}),
    "in a model": (list[Model], [{"rsi_oversold": 1, "leverage": 500}],
                   {"k[0].leverage": "Input should be less than or equal to 125"}),
    "no object": (Data, 4, {"k": "must be of type object, not number"}),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_an_annotation_says_how_a_value_is_read(name: str) -> None:
    annotation, value, wanted = READ[name]
    shape = typed_dict("Shape", {"k": annotation})
    found = to_shape({"k": value}, shape)["k"]
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize("name", MISFITS)
def test_an_annotation_says_what_is_wrong(name: str) -> None:
    annotation, value, problems = MISFITS[name]
    shape = typed_dict("Shape", {"k": annotation})
    with pytest.raises(Misfit) as caught:
        to_shape({"k": value}, shape)
    assert caught.value.problems == problems


@dataclass
class Unreadable:
    when: complex


@dataclass
class Lost:
    when: Nowhere  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        (dict, "a pydantic model, a dataclass or a TypedDict, not dict"),
        (Data(1), "not of type Data"),
        ([], "not of type list"),
        (Unreadable, "Unreadable.when is annotated as what no document holds"),
        (Lost, "the annotations of Lost can't be read: name 'Nowhere' is not defined"),
    ],
)
async def test_what_no_document_can_be_read_as_is_refused(store: SettingsStore, shape: Any, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        await store.get_as(OKX_UID, "params", shape)


async def test_the_defaults_are_asked_for_once_a_minute_and_those_known_do_while_postgresql_is_away(
    config: Config, user: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SettingsStore(config) as store:
        await store.save(user, "params", {"rsi_oversold": 20})

        async def leverage() -> int:
            found = await store.get_as(user, "params", Data, source="redis")
            assert found
            return found.settings.leverage

        assert await leverage() == 10
        db.execute("update setting_fields set default_value = '7' where setting_type = 'params' and key = 'leverage'")
        assert await leverage() == 10
        monkeypatch.setattr(typed, "FRESH", -1.0)
        assert await leverage() == 7

        async def away(_: object) -> None:
            raise DatabaseUnavailable("away")

        monkeypatch.setattr(store, "_fetch", away)
        assert await leverage() == 7
        store._defaults.clear()
        assert await leverage() == 1  # the class's own
        with pytest.raises(DatabaseUnavailable):  # and not that a key were missing
            await store.get_as(user, "params", typed_dict("Needed", {"leverage": int}), source="redis")
