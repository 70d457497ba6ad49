"""The formats of candle files: how each is known, and what its columns mean. docs/files.md says it for people.

`volume` of ours is the amount traded in the base currency: BTC, of BTC-USDT-SWAP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from operator import itemgetter

from store.errors import InvalidArgument
from store.files.spreadsheet import unguarded

NUMBERS = ("open", "high", "low", "close", "volume")
COLUMNS = ("ts", "symbol", *NUMBERS, "complete")
TIMES = ("time", "timestamp", "date", "datetime", "open_time", "")  # pandas writes an index without a name
SHORT = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
DIGITS = {10: 1_000_000, 13: 1000, 16: 1}  # of seconds, milliseconds, microseconds since 1970; in microseconds
SYMBOLS_KNOWN = 10_000  # at most, whatever a file holds
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Of what PostgreSQL and Python take for a time and a number, what is meant for one.
ISO = r"\d{4}-\d\d-\d\d(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6}0*)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?"
NUMBER = r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?\s*"
_ISO, _ONE, _FIVE = (re.compile(each, re.ASCII) for each in (ISO, NUMBER, ",".join([NUMBER] * 5)))
# Of OKX: anything behind the two currencies is a derivative, whose contracts are of some amount each.
OKX_DERIVATIVE, OKX_SYMBOL = re.compile(r"[^-]+-[^-]+-.+"), re.compile(r"[^-]+-[^-]+(-.+)?")
COIN_MARGINED = re.compile(r".+-USD-.+|.+USD_.+")  # BTC-USD-SWAP, BTCUSD_PERP: a contract is of 10 or 100 USD
CCXT = re.compile(r"([^/:\s]+)/([^/:\s]+)(:[^/:\s-]+(?P<date>-\d{6})?)?")


@dataclass(frozen=True, slots=True)
class Format:
    """One format. Names of columns are lower case, blanks are _.

    `columns`: in their order, where a file names none; `headers`: columns that only a header of this format has;
    `names`: ours for others. `digits`: how many a time may have; none: ISO 8601, too. `contracts`: symbols whose
    volume in the base currency is in the column `volume_of_contracts`, not in `volume`; `symbols`: those of which that
    is known. `ends`: the column that tells when a candle ends. `is_mapped`: symbols are written as OKX does.
    """

    name: str
    columns: tuple[str, ...] = ()
    headers: tuple[frozenset[str], ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    digits: tuple[int, ...] = ()
    volume: str = "volume"
    contracts: re.Pattern[str] | None = None
    volume_of_contracts: str = ""
    symbols: re.Pattern[str] | None = None
    ends: str = ""
    is_mapped: bool = True


STORE = Format("store", names={**SHORT, **dict.fromkeys(TIMES, "ts"), "vol": "volume", "confirm": "complete"},
               is_mapped=False)  # fmt: skip
OKX = Format(
    "okx",
    columns=("ts", "open", "high", "low", "close", "vol", "vol_ccy", "vol_quote", "complete"),
    headers=tuple(map(frozenset, (["vol", "confirm"], ["vol", "vol_ccy"], ["vol", "volccy"], ["instrument_name"]))),
    names={
        **SHORT, "instrument_name": "symbol", "open_time": "ts", "volccy": "vol_ccy", "volccyquote": "vol_quote",
        "confirm": "complete",
    },
    digits=(13,), volume="vol", contracts=OKX_DERIVATIVE, volume_of_contracts="vol_ccy", symbols=OKX_SYMBOL,
)  # fmt: skip
CCXT_ARRAYS = Format(
    "ccxt", columns=("ts", *NUMBERS), names={**SHORT, **dict.fromkeys(TIMES, "ts"), "confirm": "complete"}
)
BINANCE = Format(
    "binance",
    columns=(
        "ts", *NUMBERS, "close_time", "quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore",
    ),
    headers=(frozenset({"open_time", "close_time", "volume"}),),
    names={"open_time": "ts", "quote_asset_volume": "quote_volume"},
    digits=(13, 16), contracts=COIN_MARGINED, volume_of_contracts="quote_volume", ends="close_time",
)  # fmt: skip
CRYPTODATADOWNLOAD = Format(
    "cryptodatadownload", headers=(frozenset({"unix", "symbol"}),), names={"unix": "ts"}, digits=(10, 13),
    volume="volume_{base}",
)  # fmt: skip
KRAKEN = Format("kraken", columns=("ts", *NUMBERS, "trades"), digits=(10,))
FORMATS = {
    one.name: one
    for one in (STORE, OKX, CCXT_ARRAYS, replace(CCXT_ARRAYS, name="freqtrade"), BINANCE, CRYPTODATADOWNLOAD, KRAKEN)
}


def named(name: str) -> Format:
    """Return a format. Raises InvalidArgument."""
    if name not in FORMATS:
        raise InvalidArgument("no such format of candle files", hint=f"Known: {', '.join(FORMATS)}.")
    return FORMATS[name]


def normal(names: Sequence[str]) -> list[str]:
    """Write the names of a header as formats have them."""
    return [name.strip().lower().replace(" ", "_") for name in names]


def by_header(names: Sequence[str]) -> Format:
    """Find the format of a header; what none claims may be the store's."""
    found = set(names)
    return next((one for one in FORMATS.values() if any(header <= found for header in one.headers)), STORE)


def by_cells(cells: Sequence[str], *, is_json: bool) -> Format | None:
    """Find the format of a row without a header: by how many cells it has, and digits its time.

    Six cells and a time in milliseconds are ccxt's; in seconds they might be anybody's.
    """
    digits = len(cells[0].partition(".")[0]) if cells else 0
    known = (BINANCE, CCXT_ARRAYS, KRAKEN, *([OKX] if is_json else []))
    return next((one for one in known if len(cells) == len(one.columns) and digits in (one.digits or (13,))), None)


def okx_symbol(symbol: str) -> str:
    """Write a symbol of ccxt as OKX does: BTC/USDT is BTC-USDT, BTC/USDT:USDT BTC-USDT-SWAP. Others are kept."""
    found = CCXT.fullmatch(symbol)
    if found is None:
        return symbol
    return f"{found[1]}-{found[2]}{'' if found[3] is None else found['date'] or '-SWAP'}"


class Columns:
    """What the columns of a file mean; row() writes one as COPY takes it, by COLUMNS."""

    def __init__(self, form: Format, names: Sequence[str], width: timedelta | None, symbol: str | None) -> None:
        """`names`: of its columns, normal(). `symbol`: if the file doesn't say it. Raises InvalidArgument."""
        named = [form.names.get(name, name) for name in names]
        if form.names.get("") and named.count("ts") > 1:
            named = [column if name else "" for name, column in zip(names, named, strict=True)]  # numbers of rows
        self._form = form
        self._at = {name: place for place, name in enumerate(named) if name}
        self._count = len(named)
        self._ends = form.ends if form.ends in self._at else ""
        self._width = width
        self._symbol = symbol
        self._now = datetime.now(UTC)
        self._known: dict[str, tuple[str, Callable[[Sequence[str]], tuple[str, ...]]]] = {}
        volumes = {form.volume, form.volume_of_contracts or form.volume}
        missing = [name for name in ("ts", *NUMBERS[:-1]) if name not in self._at]
        if not missing and "{" not in form.volume and not volumes & set(self._at):
            missing = [form.volume]
        if missing:
            raise InvalidArgument(f"not candles of the format {form.name}: no column {', '.join(missing)}")
        if len({*named} - {""}) < len([name for name in named if name]):
            raise InvalidArgument(f"not candles of the format {form.name}: a column is named twice")
        if symbol is None and "symbol" not in self._at:
            raise InvalidArgument("the file doesn't say of which symbol it is", hint="Say it: --symbol BTC-USDT-SWAP.")

    def row(self, cells: Sequence[str]) -> str:
        """Write a row. Raises ValueError, without values."""
        if len(cells) != self._count:
            raise ValueError(f"{len(cells)} cells, where there should be {self._count}")
        told = cells[self._at["symbol"]] if "symbol" in self._at else ""
        symbol, pick = self._known.get(told) or self._learn(told)
        ts, *rest = pick(cells)
        numbers = ",".join(rest[:5])
        if not _FIVE.fullmatch(numbers):
            bad = next(name for name, text in zip(NUMBERS, rest, strict=False) if not _ONE.fullmatch(text))
            raise ValueError(f"{bad} can't be read")
        moment = self._moment(ts)
        if self._ends and self._width:
            short = self._width - (self._moment(rest[5]) - moment)
            if not timedelta() <= short <= timedelta(milliseconds=1):
                raise ValueError(f"{self._ends} is not that of a candle of this timeframe")
        if "complete" in self._at:
            complete = rest[-1].strip().lower()
            if complete not in ("0", "1", "true", "false"):
                raise ValueError("complete can't be read")
        else:  # what isn't over yet can't be
            complete = "true" if self._width is None or moment + self._width <= self._now else "false"
        return f"{moment.isoformat()},{symbol},{numbers},{complete}\n"

    def _learn(self, told: str) -> tuple[str, Callable[[Sequence[str]], tuple[str, ...]]]:
        """Find out about a symbol: how it is written, and which columns a row of it has. Raises ValueError."""
        form = self._form
        symbol = unguarded(told.strip())
        if form.is_mapped and symbol:
            symbol = okx_symbol(self._split(symbol))
        if self._symbol is not None and symbol not in ("", self._symbol):
            raise ValueError("the symbol is another one than that of --symbol")
        symbol = symbol or self._symbol or ""
        volume = form.volume.format(base=symbol.partition("-")[0].lower())
        if form.symbols and not form.symbols.fullmatch(symbol):
            raise ValueError("whether volumes are contracts can't be told of this symbol: --symbol as OKX writes it")
        if form.contracts and form.contracts.fullmatch(symbol):
            volume = form.volume_of_contracts
        if volume not in self._at:
            raise ValueError(f"no column {volume} with the volume in the base currency")
        columns = ["ts", *NUMBERS[:-1], volume, *filter(None, [self._ends])]
        places = [self._at[name] for name in (*columns, "complete") if name in self._at]
        quoted = symbol.replace('"', '""')
        if len(self._known) == SYMBOLS_KNOWN:
            self._known.clear()
        self._known[told] = f'"{quoted}"', itemgetter(*places)
        return self._known[told]

    def _split(self, symbol: str) -> str:
        """Write BTCUSDT as BTC/USDT, where the columns name both currencies, as in volume_btc."""
        if "{" in self._form.volume and "/" not in symbol:
            named = [name.partition("_")[2].upper() for name in self._at if name.startswith("volume_")]
            for base, quote in permutations(named, 2):
                if base + quote == symbol:
                    return f"{base}/{quote}"
            raise ValueError("which currencies the symbol is of can't be told")
        return symbol

    def _moment(self, text: str) -> datetime:
        text = text.strip()
        digits, _, zeros = text.partition(".")
        try:
            if digits.isdecimal() and digits.isascii() and not zeros.strip("0"):
                if len(digits) not in (self._form.digits or DIGITS):
                    raise ValueError
                return EPOCH + timedelta(microseconds=int(digits) * DIGITS[len(digits)])
            if not self._form.digits and _ISO.fullmatch(text):
                moment = datetime.fromisoformat(text)
                return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            pass
        digits = " or ".join(map(str, self._form.digits or DIGITS))
        raise ValueError(
            f"ts is not {'' if self._form.digits else 'an ISO 8601 time, nor '}a number of {digits} digits"
        )
