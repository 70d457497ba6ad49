"""Classes to read documents as, in the forms that datamodel-code-generator makes of the catalogue's schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    direction: Literal["롱", "숏", "롱숏"] = "롱숏"
    leverage: Annotated[int, Field(ge=1, le=125)] = 1  # the catalogue says 10
    investment: float | None = None
    rsi_oversold: float
    symbol_investments: dict[str, Any] = {}  # as it is generated


@dataclass
class Data:
    rsi_oversold: float
    direction: Literal["롱", "숏", "롱숏"] = "롱숏"
    leverage: int = 1
    investment: float | None = None
    symbol_investments: dict[str, Any] = field(default_factory=dict)


class Keys(TypedDict):
    direction: NotRequired[Literal["롱", "숏", "롱숏"]]
    leverage: int
    investment: NotRequired[float]
    rsi_oversold: float
    symbol_investments: NotRequired[dict[str, Any]]


class Outer(TypedDict, total=False):
    levels: list[Data]
    by_symbol: dict[str, Keys | None]
