"""The shapes the store takes and returns."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # Python has defaults of type variables from 3.13 on

    S = TypeVar("S", default=dict[str, Any])
else:
    from typing import TypeVar

    S = TypeVar("S")

Document = dict[str, Any]
Source = Literal["redis", "db"]
SettingTypeName = Literal["preferences", "params", "dual_side"]  # those built in; the catalogue may have others


@dataclass(frozen=True, slots=True)
class SettingType:
    """A kind of settings document (a row of setting_types) and where Redis keeps it."""

    name: str
    redis_suffix: str
    redis_encoding: str  # 'hash' or 'json'
    has_symbols: bool = False

    def of(self, symbol: str) -> SettingType:
        """Return the kind of a symbol's document, as the view mirror_source has it."""
        return replace(self, name=f"{self.name}:{symbol}", redis_suffix=f"symbol:{symbol}:{self.redis_suffix}")


# Known without asking PostgreSQL, so that Redis can serve reads while PostgreSQL is away.
BUILT_IN_TYPES = {
    "preferences": SettingType("preferences", "preferences", "hash"),
    "params": SettingType("params", "settings", "json"),
    "dual_side": SettingType("dual_side", "dual_side", "hash", has_symbols=True),
}
MASK = "********"  # as secret_mask() in SQL
Language = Literal["en", "ko"]
Guard = Literal["net_per_trade", "win_rate", "drawdown"]
OnWorse = Literal["pause", "roll_back"]
RolloutOutcome = Literal["keep", "everybody", "roll_back"]
Verdict = Literal["worse", "better", "open"]
BUILT_IN_SECRETS = {"params": {"signal_bot_token"}}


@dataclass(frozen=True, slots=True)
class SettingField:
    """What the catalogue says of a key (a row of setting_fields): what it may hold, and what it is for, with the unit,
    in English and Korean. `default`: None also where there is none (`has_default`) or it is null. `is_hot`: False if it
    may only be changed while the bot is stopped."""

    setting_type: str
    key: str
    json_type: Literal["string", "number", "integer", "boolean", "object", "array"]
    is_nullable: bool
    has_default: bool
    default: Any
    minimum: Decimal | None
    maximum: Decimal | None
    choices: list[str] | None
    is_secret: bool
    description: str | None
    description_ko: str | None
    is_hot: bool = True


@dataclass(frozen=True, slots=True)
class SettingRule:
    """What several keys of a document must keep to together (a row of setting_rules). `rule`: a jsonpath that is true
    of such a document; `message`: what the problem is called, in English and Korean."""

    setting_type: str
    name: str
    keys: list[str]
    rule: str
    message: str
    message_ko: str | None


@dataclass(frozen=True, slots=True)
class User:
    """A registered user; `deleted_at`: of one who was deleted."""

    id: uuid.UUID
    okx_uid: str
    telegram_id: str | None
    name: str | None
    telegram_username: str | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SavedUser(User):
    """What a change of a user left behind. `mirrored`: Redis has it already, whom the Telegram IDs lead to as well; if
    not, the keys are marked, and the relay brings Redis up."""

    mirrored: bool = field(kw_only=True)


class Scoped:
    """What is called as user_settings.setting_type has it: dual_side, or of a symbol dual_side:BTC-USDT-SWAP."""

    __slots__ = ()
    setting_type: str

    @property
    def symbol(self) -> str | None:
        """The symbol whose document this is; None: the user's own."""
        return self.setting_type.partition(":")[2] or None


@dataclass(frozen=True, slots=True)
class SettingLock(Scoped):
    """A lock of settings: whose (`okx_uid`, None: everybody's), of which type or document, which `key` (None: the whole
    document), why, by whom, and until when (None: until it is removed). `is_cold`: a bot's that runs."""

    okx_uid: str | None
    setting_type: str
    key: str | None
    is_cold: bool
    reason: str
    until: datetime | None
    locked_at: datetime
    locked_by: str
    written_by: str


@dataclass(frozen=True, slots=True)
class Setting(Scoped, Generic[S]):
    """The active settings document of a user and type. `setting_type`: with its symbol (dual_side:BTC-USDT-SWAP), if it
    is one's. `settings`: a dict, or what get_as() was asked for. `source`: which store answered."""

    okx_uid: str
    telegram_id: str | None
    setting_type: str
    version: int
    settings: S
    updated_at: datetime
    source: Source


@dataclass(frozen=True, slots=True)
class SettingView(Scoped):
    """A Setting that can't be changed, nor what its document holds: objects are read-only mappings, arrays tuples. So
    all who read it from the cache have the same one."""

    okx_uid: str
    telegram_id: str | None
    setting_type: str
    version: int
    settings: Mapping[str, Any]
    updated_at: datetime
    source: Source

    @classmethod
    def of(cls, setting: Setting) -> SettingView:
        """Make a view of a copy. Raises RecursionError for what is nested too deep."""
        settings = read_only(setting.settings)
        return cls(
            setting.okx_uid, setting.telegram_id, setting.setting_type, setting.version,
            settings, setting.updated_at, setting.source,
        )  # fmt: skip


def read_only(value: Any) -> Any:
    """Copy a value of JSON into one that can't be changed."""
    if isinstance(value, dict):
        return MappingProxyType({key: read_only(member) for key, member in value.items()})
    return tuple(map(read_only, value)) if isinstance(value, list) else value


def changeable(value: Any) -> Any:
    """Copy what read_only() made into a value of JSON."""
    if isinstance(value, MappingProxyType):
        return {key: changeable(member) for key, member in value.items()}
    return list(map(changeable, value)) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class SavedSetting(Setting[Document]):
    """What a save left behind. `mirrored`: Redis has this version (or a newer one) already; if not, the
    key is marked, and the relay brings Redis up. `missing_keys`: what the catalogue lists with a default and the
    document, which is kept as it is, lacks; registering again fills them."""

    mirrored: bool
    is_deleted: bool = False  # this version is a deletion
    missing_keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What became of one key. `change`: added (then old is None), removed (new is None) or changed. Secrets are
    masked."""

    key: str
    change: Literal["added", "removed", "changed"]
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Version(Scoped):
    """One version of a user's settings: when, who, why, and what it changed against the version before (None:
    that one was pruned). `changed_by`: as the writer said; `written_by`: the login, None before 1.1."""

    okx_uid: str
    setting_type: str
    version: int
    saved_at: datetime
    changed_by: str
    written_by: str | None
    change_reason: str | None
    is_deleted: bool
    changes: list[KeyChange] | None


@dataclass(frozen=True, slots=True)
class CommittedChange(Version):
    """A version in the order of commits. `cursor`: where a reader goes on behind it; a text to be kept as it is."""

    cursor: str


@dataclass(frozen=True, slots=True)
class HeldChanges:
    """What is committed and can't be read yet in the order of commits. `waited`: the age of the oldest such change;
    `process`: whose open transaction it waits for; None: a prepared one, or not known."""

    waited: timedelta
    process: int | None


@dataclass(frozen=True, slots=True)
class Halt:
    """Trading that is halted: of `okx_uid` (None: everybody), of `symbol` (None: all), why, and since when."""

    okx_uid: str | None
    symbol: str | None
    reason: str
    since: datetime

    @property
    def scope(self) -> str:
        """Whose trading it is, in words."""
        whose = "everybody" if self.okx_uid is None else f"user {self.okx_uid}"
        return whose if self.symbol is None else f"{whose}, {self.symbol}"


@dataclass(frozen=True, slots=True)
class HaltRecord(Halt):
    """A halt as the history has it: by whom (`written_by`: the login), and when, by whom and why it was ended; None
    while it is in force."""

    halted_by: str
    written_by: str
    resumed_at: datetime | None
    resumed_by: str | None
    resume_reason: str | None
    resume_written_by: str | None


@dataclass(frozen=True, slots=True)
class SavedHalt(HaltRecord):
    """What halting or resuming left behind. `mirrored`: Redis has it already; if not, the key is marked, and the relay
    brings Redis up."""

    mirrored: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A named document of a setting type. Who and when: None for the catalogue's defaults; `written_by`: the login.
    `okx_uid`: whose own it is, None: everybody's."""

    name: str
    setting_type: str
    settings: Document
    changed_by: str | None
    updated_at: datetime | None
    written_by: str | None
    okx_uid: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateEffect(Scoped):
    """What a template does, or would do, to one user's document. `version`: after it, or before a preview.
    `missing_keys`: as in SavedSetting."""

    okx_uid: str
    setting_type: str
    version: int
    changes: list[KeyChange]
    missing_keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ScheduledChange(Scoped):
    """A change of settings at a moment, and what became of it. `okx_uid`: whose, None: of several. What is done:
    `patch`, `template`, or a rollback to `version`. `due_at`: when somebody has to look at it, None: it is over.
    `users`: how many, None: those of `filter` aren't known yet; `changed`: how many it changed. `note`: what isn't as
    was meant."""

    id: int
    okx_uid: str | None
    setting_type: str
    filter: Document | None
    patch: Document | None
    template: str | None
    version: int | None
    expected_version: int | None
    at: datetime
    until: datetime | None
    not_after: datetime | None
    reason: str | None
    scheduled_by: str
    written_by: str
    scheduled_at: datetime
    state: Literal["waiting", "active", "done", "failed", "expired", "cancelled"]
    due_at: datetime | None
    ended_at: datetime | None
    users: int | None
    changed: int
    note: str | None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A template that users get step by step. `settings`: what they get, a copy; secrets are masked. `steps` and
    `control`: percent of the users. `currency`: of the trades that are compared, None: not known. `state`: running,
    paused, ending or ended; `outcome`: how it ends or ended: keep, everybody, roll_back. `step`: from 1. Of `users`,
    `given` have it, `waiting` are about to get it, or to be taken back, `taken_back` were. `problems`: why users were
    skipped, and how many. `treated_trades`, `control_trades`: closed in this step, as counted last. `verdict`: of the
    last of `looks`: worse, better or open. `note`: why it is paused, or what failed. `given_at`: since when the users
    of the step have it. `changed_by`: who decided last how it goes on; `written_by`: the login."""

    name: str
    template: str
    setting_type: str
    settings: Document
    filter: Document
    steps: list[Decimal]
    control: Decimal
    minimum_trades: int
    step_time: timedelta | None
    guard: Guard
    currency: str | None
    on_worse: OnWorse
    reason: str | None
    state: Literal["running", "paused", "ending", "ended"]
    outcome: RolloutOutcome | None
    step: int
    users: int
    given: int
    waiting: int
    taken_back: int
    problems: dict[str, int]
    treated_trades: int
    control_trades: int
    looks: int
    verdict: Verdict | None
    note: str | None
    begun_at: datetime
    given_at: datetime | None
    next_look_at: datetime | None
    ended_at: datetime | None
    changed_by: str
    written_by: str


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """What a look at a rollout found, of those who have it (treated) and those who don't (control), by trades entered
    from `since` on and closed before `looked_at`. The means are the net PnL of a trade, the share of wins or a user's
    deepest drawdown, as the guard says. `difference`: treated - control; above `lower` and below `upper`, but for a
    chance of `alpha` each."""

    rollout: str
    step: int
    look: int
    looked_at: datetime
    since: datetime
    treated_users: int
    treated_trades: int
    treated_mean: float
    control_users: int
    control_trades: int
    control_mean: float
    difference: float
    lower: float
    upper: float
    alpha: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class RolloutTurn:
    """What watch_rollouts() did to a rollout: whose documents changed, and the verdict of a look, if there was one."""

    name: str
    okx_uids: list[str]
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Erasure:
    """The receipt of an erasure. `mirrored`: Redis has nothing of the person any more; if not, the keys are
    marked, and the relay clears them. `was_known`: to PostgreSQL; else only Redis had something, or the person was
    erased before."""

    okx_uid: str
    settings: int
    versions: int
    trades: int
    telegram_links: int
    mirrored: bool
    was_known: bool = True


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's API credentials, decrypted. They don't show in the repr. `source`: which store answered."""

    okx_uid: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    passphrase: str = field(repr=False)
    version: int
    updated_at: datetime
    source: Source


@dataclass(frozen=True, slots=True)
class SavedCredentials:
    """What a save of credentials left behind. `mirrored`: as in SavedSetting."""

    okx_uid: str
    version: int
    updated_at: datetime
    mirrored: bool
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class CredentialsVersion:
    """Who changed credentials (as in Version), and when; never what."""

    okx_uid: str
    version: int
    saved_at: datetime
    changed_by: str
    written_by: str | None
    change_reason: str | None
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registration left behind: the user, the active documents, and whether the user was there before it."""

    user: SavedUser
    settings: list[SavedSetting]
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class MirrorEntry:
    """What Redis should hold in one key (a row of the view mirror_source).

    `document` is JSON as PostgreSQL prints it, None if the key must not exist; `version` guards it. `size`: bytes of
    the document, where it was asked; a long one may be left out (store/coherence/mirror_source.py).
    """

    owner: str
    kind: str
    suffix: str
    encoding: str
    version: int
    updated_at: datetime
    document: str | None = field(repr=False)  # credentials in plain text, where MIRROR_CREDENTIALS says so
    size: int = field(default=0, compare=False)

    @property
    def is_partial(self) -> bool:
        """Whether the document was left out."""
        return self.document is None and self.size > 0

    @property
    def length(self) -> int:
        """Bytes of the document, also of one left out."""
        return self.size or len(self.document or "")

    @property
    def is_of_every_symbol(self) -> bool:
        """Whether it stands for all symbols' documents of an erased person, which PostgreSQL can't name."""
        return self.kind.endswith(":*")

    @property
    def is_document(self) -> bool:
        """Whether it is settings or credentials, not a user's or a Telegram ID's entry."""
        return self.kind not in ("user", "telegram")

    @property
    def is_erased(self) -> bool:
        """Whether the person was erased: the mark is all there is in PostgreSQL."""
        return self.encoding == "erased"


@dataclass(frozen=True, slots=True)
class Trade:
    """A closed trade. Fees: what was paid; a rebate is negative, and so is funding that was received. `realized_pnl`:
    before fees and funding, `net_pnl`: after them. `funding_fee`, `currency` (of all of these): None if not known.
    `params_version`, `dual_side_version`: the settings in force at `entry_time`; None if there were none, or if which
    isn't known any more."""

    id: uuid.UUID
    user_id: uuid.UUID
    okx_uid: str
    symbol: str
    side: str  # 'long' or 'short'
    is_hedge: bool
    entry_time: datetime
    entry_price: Decimal
    entry_size: Decimal
    exit_time: datetime
    exit_price: Decimal
    exit_size: Decimal
    entry_fee: Decimal
    exit_fee: Decimal
    funding_fee: Decimal | None
    currency: str | None
    realized_pnl: Decimal
    net_pnl: Decimal
    realized_pnl_percent: Decimal | None
    leverage: Decimal | None
    close_type: str | None
    dca_count: int
    entry_order_id: str | None
    exit_order_id: str
    params_version: int | None
    dual_side_version: int | None
    extra: Document
    created_at: datetime

    @property
    def fees(self) -> Decimal:
        """Both fees, without funding."""
        return self.entry_fee + self.exit_fee


@dataclass(frozen=True, slots=True)
class TradesRecorded:
    """How many trades were recorded, and how many of those given were known already."""

    recorded: int
    known: int


@dataclass(frozen=True, slots=True)
class TradeStatistics:
    """Figures of a group of trades of one currency; what makes the group comes first, None where it isn't grouped by.

    `version`, `saved_at`, `value`: of the settings in force at entry. `currency`: None if it isn't known. Wins, losses,
    best, worst and averages are by net PnL; `gross_loss` and `average_loss` are positive amounts. `win_rate`: 0 to 1.
    `profit_factor`: gross profit by gross loss, None without a loss. `funding_fees`: as far as they are known.
    `expectancy`: what a trade earns on average; `expectancy_ratio`: by the average loss. `max_drawdown`: of the summed
    net PnL in the order of exits, from 0, a positive amount; `max_drawdown_duration`: the longest time below a high.
    `sharpe`: mean by sample standard deviation of the net PnL per UTC day, days without a trade included, annualised;
    `sortino`: by the downside deviation; None for fewer than two days or if that is 0. `max_drawdown_percent`,
    `cagr_percent`, `calmar`: only with a capital. Formulas: docs/trades.md.
    """

    okx_uid: str | None
    symbol: str | None
    side: str | None
    period: datetime | None
    version: int | None
    saved_at: datetime | None
    value: Any
    currency: str | None
    users: int
    trades: int
    wins: int
    losses: int
    break_even: int
    win_rate: Decimal | None
    gross_profit: Decimal
    gross_loss: Decimal
    profit_factor: Decimal | None
    realized_pnl: Decimal
    fees: Decimal
    funding_fees: Decimal | None
    net_pnl: Decimal
    best: Decimal | None
    worst: Decimal | None
    average: Decimal | None
    average_win: Decimal | None
    average_loss: Decimal | None
    expectancy: Decimal | None
    expectancy_ratio: Decimal | None
    longest_win_streak: int
    longest_loss_streak: int
    average_holding: timedelta | None
    min_holding: timedelta | None
    max_holding: timedelta | None
    max_drawdown: Decimal
    max_drawdown_duration: timedelta
    sharpe: Decimal | None
    sortino: Decimal | None
    max_drawdown_percent: Decimal | None
    cagr_percent: Decimal | None
    calmar: Decimal | None
    first_exit: datetime | None
    last_exit: datetime | None


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """What trades earned up to a moment at which some of them closed. `net_pnl`: of these, `equity`: of all so far,
    from 0, `drawdown`: how far below the highest equity so far, as a positive amount. All of one currency; None: not
    known. `version`: of the settings in force at entry; None of everybody's trades, and if there was none or which
    isn't known."""

    currency: str | None
    time: datetime
    trades: int
    net_pnl: Decimal
    equity: Decimal
    drawdown: Decimal
    version: int | None


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices and volume of a symbol from `ts` on, for the time of a timeframe. `complete`: finished, and final."""

    ts: datetime
    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Gap:
    """Candles that aren't there: `missing` of them, the first at `from_ts`, the last before `to_ts`."""

    from_ts: datetime
    to_ts: datetime
    missing: int


@dataclass(frozen=True, slots=True)
class Written:
    """What became of candles that were given."""

    inserted: int
    replaced: int
    unchanged: int
