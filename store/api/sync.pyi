"""Types of store/api/sync.py. Written by `make docs` from those of SettingsStore; a test keeps it so."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, BinaryIO, Literal, Unpack, overload
from uuid import UUID

from store.api.background import Blocking, SyncIterator
from store.api.typed import T
from store.api.watch import Change, SettingChange
from store.models import (
    Candle,
    CommittedChange,
    Credentials,
    CredentialsVersion,
    Document,
    EquityPoint,
    Erasure,
    Gap,
    Guard,
    Halt,
    HaltRecord,
    HeldChanges,
    KeyChange,
    Language,
    OnWorse,
    Registration,
    Rollout,
    RolloutOutcome,
    RolloutResult,
    RolloutTurn,
    SavedCredentials,
    SavedHalt,
    SavedSetting,
    SavedUser,
    ScheduledChange,
    Setting,
    SettingField,
    SettingLock,
    SettingRule,
    SettingTypeName,
    SettingView,
    Source,
    Template,
    TemplateEffect,
    Trade,
    TradesRecorded,
    TradeStatistics,
    User,
    Version,
    Written,
)
from store.postgres.functions.trades import FigureOptions, TradeSelection

class SyncSettingsStore(Blocking):
    def register(
        self,
        okx_uid: str,
        telegram_id: str | None = None,
        *,
        name: str | None = None,
        telegram_username: str | None = None,
        documents: Mapping[str, Mapping[str, Any]] | None = None,
        template: str = "default",
        actor: str | None = None,
        reason: str | None = None,
    ) -> Registration:
        """Register a user and save a first document of every type: of `documents` ({type: document}), else the
        catalogue's defaults with the template's keys over them.

        Idempotent: documents that are there stay, but get the defaults of keys that they lack; those that only Redis
        has (of a user who comes from an older system) are taken over. Raises AlreadyLinked, BadIdentifier,
        InvalidSettings, UnknownTemplate.
        """
    def ensure_user(
        self,
        okx_uid: str,
        telegram_id: str | None = None,
        *,
        name: str | None = None,
        telegram_username: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedUser:
        """Register a user without saving any document, or change what is given of the one there is; idempotent.

        A deleted user comes back. Raises AlreadyLinked, BadIdentifier.
        """
    def find_user(self, identifier: str) -> User | None:
        """Find a user; None if nobody has the identifier. Raises BadIdentifier, if nobody could have it."""
    def iter_users(
        self, *, deleted: bool = False, after: str | None = None, limit: int | None = None
    ) -> SyncIterator[User]:
        """Yield users by OKX UID, or deleted ones, a page a query, without holding them all."""
    def list_users(self, *, after: str | None = None, limit: int | None = None) -> list[User]:
        """List users by OKX UID; `after`: the last OKX UID of the page before."""
    def list_deleted_users(self, *, after: str | None = None, limit: int | None = None) -> list[User]:
        """List those whom restore_user() would bring back, as list_users() does the others."""
    def link(
        self,
        identifier: str,
        telegram_id: str,
        *,
        telegram_username: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedUser:
        """Link a Telegram ID to a user, in place of an earlier one. Raises AlreadyLinked, UnknownUser.

        If the result isn't `mirrored`, a read by the ID may get what it led to before, until the relay has brought it:
        get() with `okx_uid` doesn't.
        """
    def unlink(self, identifier: str, *, actor: str | None = None, reason: str | None = None) -> SavedUser:
        """Take the Telegram ID from a user; with `mirrored` as link() has it. Raises UnknownUser."""
    def delete_user(self, identifier: str, *, actor: str | None = None, reason: str | None = None) -> SavedUser:
        """Soft-delete a user and the settings; the history stays. Raises UnknownUser."""
    def restore_user(self, identifier: str, *, actor: str | None = None, reason: str | None = None) -> SavedUser:
        """Bring a deleted user back with the settings deleted then; with the Telegram ID if it is still free.

        By OKX UID or UUID. Idempotent. Raises UnknownUser.
        """
    def erase_user(self, identifier: str) -> Erasure:
        """Remove everything of a person from both stores, history included. IRREVOCABLE.

        By OKX UID or UUID if the user was deleted; by OKX UID or Telegram ID of whom Redis alone has something, or who
        was erased before (an old copy of Redis came back). That it was this person is remembered by a keyed digest,
        until somebody registers anew. Backups and the servers' logs may hold it longer. Raises UnknownUser.
        """
    def get_many(
        self,
        identifiers: Iterable[str],
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        source: Source | None = None,
        min_versions: Mapping[str, int] | None = None,
    ) -> dict[str, Setting]:
        """Read a document of each of many users, as get() does: {identifier: setting}, in the order given. Who has no
        such document isn't in it, nor is who isn't known.

        500 users take an exchange with Redis, all that is missing there one query of PostgreSQL. `min_versions`: as
        get()'s `min_version`, by identifier, an OKX UID. Raises BadIdentifier (what isn't text), UnknownSettingType,
        UnknownVersion, InvalidArgument, NotPermitted, DatabaseUnavailable.
        """
    def save_many(
        self,
        documents: Mapping[str, Mapping[str, Any]],
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> dict[str, SavedSetting]:
        """Save a document of each of many users ({identifier: document}) in one transaction, all or none; each as
        save() does: {identifier: what was saved}.

        Raises what save() does, InvalidSettings and UnknownUser with a message that says whose, and InvalidArgument
        also if a user is named twice.
        """
    def update(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        change: Callable[[Document], Mapping[str, Any] | None],
        *,
        symbol: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Read a document, change it, save it if nobody else has saved meanwhile; else again, after a moment.

        `change` gets the document as PostgreSQL has it ({}: there is none; of a symbol the user's own, if it has none),
        and returns another, or None if it has changed the one it got. It may be called several times, so it does
        nothing else; what it raises ends the update, with nothing saved. Numbers are Python's: a fraction keeps as many
        digits as a float has. Keys that are set whatever the document holds are patch()'s, which takes one statement.
        Raises what save() does: VersionConflict only if others were first 50 times, DatabaseUnavailable if it is
        unknown whether this save was done, and then it isn't tried again.
        """
    def view(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        min_version: int = 0,
        okx_uid: str | None = None,
    ) -> SettingView | None:
        """Read a document as get() does, to look at only: from the cache it takes no copy, and all have the same one.
        Its objects are read-only mappings, its arrays tuples."""
    def value(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        key: str,
        default: Any = None,
        *,
        symbol: str | None = None,
    ) -> Any:
        """Read one value of a document, as view() has it; `default` where there is none. Raises what get() does."""
    def get_as(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        shape: type[T],
        *,
        symbol: str | None = None,
        source: Source | None = None,
        min_version: int = 0,
        okx_uid: str | None = None,
    ) -> Setting[T] | None:
        """Read the active document as get() does, with an object of the class `shape` as its `settings`.

        `shape`: a pydantic model, a dataclass or a TypedDict. Keys that the document lacks have the catalogue's
        defaults (as of at most a minute ago), before those of the class. A dataclass or a TypedDict takes str, int,
        float, Decimal, bool, None, Literal, Enum, list, dict, unions of these, and classes of its kind.
        Raises InvalidSettings if the document isn't one: it names user and type, and `problems` each key, and no value.
        InvalidArgument if the class isn't of these; otherwise as get().
        """
    def get(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        source: Source | None = None,
        min_version: int = 0,
        okx_uid: str | None = None,
    ) -> Setting | None:
        """Read the active document; None if nothing was saved.

        With `symbol` the document of that symbol, or else the user's own: the result's `symbol` says which it is.

        From Redis; from PostgreSQL if Redis hasn't got it, can't be reached, or is older than
        `min_version` (what a save returned), and then Redis is filled again. `source` asks one store only.
        `okx_uid`: whose it must be. By a Telegram ID Redis may still have whom it led to before, unless it knows that
        user to have another, and versions of different users don't compare: then PostgreSQL is asked, too.
        With a cache, from there first: what Redis held at most 2 seconds ago, whatever happens to the connection;
        what this store has saved is read back at once.
        Raises BadIdentifier, UnknownSettingType, UnknownUser (also if `okx_uid` isn't whom the identifier leads to),
        UnknownVersion (`min_version` isn't there), InvalidArgument, NotPermitted, and DatabaseUnavailable if neither
        answers.
        """
    def get_all(
        self, identifier: str, *, symbol: str | None = None, source: Source | None = None, okx_uid: str | None = None
    ) -> list[Setting]:
        """Read the active documents, in the order of their names: the user's own of every type, and those of symbols;
        with `symbol` those in force for that one, as get() does. All are of one user."""
    def search(
        self,
        setting_type: SettingTypeName | str,
        filter: Mapping[str, Any],
        *,
        symbol: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Setting]:
        """Find the active documents that contain `filter` (of `symbol`, else the users' own), by index, in the order of
        OKX UIDs."""
    def iter_search(
        self,
        setting_type: SettingTypeName | str,
        filter: Mapping[str, Any],
        *,
        symbol: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> SyncIterator[Setting]:
        """Yield what search() finds, as of one moment, without holding it all."""
    def save(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        settings: Mapping[str, Any],
        *,
        symbol: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Save a document in place of the active one; an unchanged one makes no version.

        It is kept as it is; the result's `missing_keys` are those of the catalogue that it lacks.
        `symbol`: the document of that symbol, which has versions of its own; else the user's own.
        `expected_version`: only if this is the current version (0: none yet), else VersionConflict. With
        Redis down the save succeeds with `mirrored` false. A save that is cancelled may have been committed, and then
        reaches Redis by the relay; so may one that ends with DatabaseUnavailable. Raises InvalidSettings,
        UnknownUser, UnknownSettingType, BadIdentifier, InvalidArgument (no symbol, or not of this type),
        VersionConflict, DatabaseUnavailable.
        """
    def patch(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        patch: Mapping[str, Any],
        *,
        symbol: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Change some keys (JSON merge patch, RFC 7396); a symbol's document begins as the user's own. Otherwise as
        save().

        None puts the default of a key that the catalogue lists back, and removes any other key; objects merge, so {}
        changes nothing.
        """
    def save_all(
        self,
        identifier: str,
        documents: Mapping[str, Mapping[str, Any]],
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[SavedSetting]:
        """Save documents of several types ({type: document}) in one transaction. Otherwise as save()."""
    def delete(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting | None:
        """Delete a document, as a version of its own; the old value stays in the history. None if there
        was nothing. Otherwise as save()."""
    @overload
    def watch(
        self, identifier: str | None = None, *, values: Literal[False] = False, halts: bool = False
    ) -> SyncIterator[Change]:
        """Yield changes of a user's settings, or of everybody's (of the one that the store is confined to), as they
        reach Redis; never ends.

        Each key's come in order; after a lost connection the newest version of what changed meanwhile. With `values`
        as SettingChange, from the history: every version, those between, too, but what was pruned; while PostgreSQL is
        away it waits. `halts`: also when any halt of trading began or ended, whoever's (Change.is_of_halts): halted()
        says what is in force. Raises UnknownUser, BadIdentifier, NotPermitted, InvalidArgument (`values` with `halts`),
        RedisUnavailable (only at the beginning).
        """
    @overload
    def watch(self, identifier: str | None = None, *, values: Literal[True]) -> SyncIterator[SettingChange]:
        """Yield changes of a user's settings, or of everybody's (of the one that the store is confined to), as they
        reach Redis; never ends.

        Each key's come in order; after a lost connection the newest version of what changed meanwhile. With `values`
        as SettingChange, from the history: every version, those between, too, but what was pruned; while PostgreSQL is
        away it waits. `halts`: also when any halt of trading began or ended, whoever's (Change.is_of_halts): halted()
        says what is in force. Raises UnknownUser, BadIdentifier, NotPermitted, InvalidArgument (`values` with `halts`),
        RedisUnavailable (only at the beginning).
        """
    def history(
        self,
        identifier: str,
        setting_type: SettingTypeName | str | None = None,
        *,
        symbol: str | None = None,
        before: datetime | None = None,
        limit: int | None = None,
    ) -> list[Version]:
        """List versions of one type or of all, newest first, deleted users' too (by OKX UID or UUID).

        `before`: the `saved_at` of the last one of the page before; what was saved at one moment is never torn
        apart, so a page may be a little longer than `limit`. `symbol`: of its documents only; else of one type the
        user's own, of all those of every symbol, too. Raises UnknownUser, UnknownSettingType, InvalidArgument.
        """
    def iter_history(
        self,
        identifier: str,
        setting_type: SettingTypeName | str | None = None,
        *,
        symbol: str | None = None,
        before: datetime | None = None,
        limit: int | None = None,
    ) -> SyncIterator[Version]:
        """Yield what history() lists, as of one moment, without holding it all."""
    def get_version(
        self, identifier: str, setting_type: SettingTypeName | str, version: int, *, symbol: str | None = None
    ) -> Setting | None:
        """Read one version (of the document of `symbol`, else of the user's own); None if it is a deletion.

        Raises UnknownVersion, UnknownUser.
        """
    def get_at(
        self, identifier: str, setting_type: SettingTypeName | str, at: datetime, *, symbol: str | None = None
    ) -> Setting | None:
        """Read what was in force at a moment (of the document of `symbol`, else of the user's own); None if it was
        deleted then. Raises UnknownVersion (nothing had been saved by then), UnknownUser."""
    def get_all_at(self, identifier: str, at: datetime) -> list[Setting]:
        """Read the documents of every type that were in force at a moment. Raises as get_at().

        Documents saved together (register, save_all) have moments of their own: the last one's has them all.
        """
    def diff(
        self, identifier: str, setting_type: SettingTypeName | str, from_: int, to: int, *, symbol: str | None = None
    ) -> list[KeyChange]:
        """Compare two versions, key by key. Raises UnknownVersion, UnknownUser."""
    def rollback(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        version: int,
        *,
        symbol: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Save the document of an earlier version again, as a new version (a deletion, if it was one).

        Raises UnknownVersion, InvalidSettings (the catalogue has changed since); otherwise as save().
        """
    def rollback_all(
        self, identifier: str, at: datetime, *, actor: str | None = None, reason: str | None = None
    ) -> list[SavedSetting]:
        """Bring all documents of a user back to what was in force at a moment, in one transaction.

        A type that wasn't there then is deleted; of documents saved together (register, save_all) the last one's
        `saved_at` has them all. Returns one per type, also where nothing had to change.
        Raises UnknownVersion (nothing had been saved by then); otherwise as rollback().
        """
    def restore(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Bring a deleted document back, as a new version; what isn't deleted stays as it is.

        Raises UnknownVersion (nothing was ever saved); otherwise as save().
        """
    def prune(
        self, keep: int, older_than: timedelta, *, identifier: str | None = None, dry_run: bool = False
    ) -> dict[str, int]:
        """Remove versions beyond the newest `keep` of each document that went out of force longer ago than
        `older_than`; never the active one. Returns how many, by setting type.

        Raises InvalidArgument, UnknownUser.
        """
    def changes(
        self, after: str | None = None, *, since: datetime | None = None, follow: bool = False
    ) -> SyncIterator[CommittedChange]:
        """Yield committed changes of everybody's settings (of the user whom the store is confined to), none left out.

        `after`: the `cursor` of the last change that was taken care of; else from the first one saved at `since` or
        later, or from the oldest version there is. `follow`: go on for ever, also when PostgreSQL was away, once it
        was reached; else end where nothing is new. What an open transaction holds back comes as soon as that has
        ended: changes_held(). Raises InvalidArgument (no cursor, or one of another state of the database: of before a
        restore or a failover), DatabaseUnavailable.
        """
    def changes_held(self) -> HeldChanges | None:
        """Tell what is committed and changes() can't yield yet, as a transaction that began before it is open, of any
        database of the server; None if nothing is held back."""
    def save_template(
        self,
        name: str,
        setting_type: SettingTypeName | str,
        settings: Mapping[str, Any],
        *,
        owner: str | None = None,
        actor: str | None = None,
    ) -> Template:
        """Save a template in place of an earlier one of this name, type and owner; it may hold some keys only.

        `owner`: the user whose own it is. Raises InvalidSettings, UnknownSettingType, InvalidArgument (the name),
        UnknownUser.
        """
    def save_template_from(
        self,
        name: str,
        setting_type: SettingTypeName | str,
        identifier: str,
        *,
        symbol: str | None = None,
        owner: str | None = None,
        actor: str | None = None,
    ) -> Template:
        """Save a user's active document (of `symbol`, else the own one) as a template, without its secrets.

        Raises UnknownUser, UnknownVersion (the user has none); otherwise as save_template().
        """
    def list_templates(self, name: str | None = None, *, owner: str | None = None) -> list[Template]:
        """List templates, all or those of a name (one per setting type): everybody's, or a user's own."""
    def iter_templates(self, name: str | None = None, *, owner: str | None = None) -> SyncIterator[Template]:
        """Yield what list_templates() lists, without holding it all."""
    def delete_template(
        self, name: str, setting_type: SettingTypeName | str | None = None, *, owner: str | None = None
    ) -> int:
        """Delete a template, for one setting type or for all; return how many. Raises UnknownTemplate."""
    def apply_template(
        self,
        name: str,
        setting_type: SettingTypeName | str,
        *,
        identifiers: Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
        replace: bool = False,
        dry_run: bool = False,
        symbol: str | None = None,
        owner: str | None = None,
        tell: Callable[[TemplateEffect], None] | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[TemplateEffect]:
        """Apply a template to these users, or to all whose document contains `filter`, in one transaction; one that is
        an `owner`'s own to that user.

        Its keys replace those of the document (of `symbol`, else the own one); with `replace` it becomes that.
        `dry_run`: a preview. `tell` hears of each effect once all is done, in place of the list, which is empty then.
        Raises UnknownTemplate, UnknownUser, InvalidSettings, UnknownSettingType.
        """
    def schedule_change(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        patch: Mapping[str, Any] | None = None,
        *,
        template: str | None = None,
        version: int | None = None,
        symbol: str | None = None,
        at: datetime | None = None,
        until: datetime | None = None,
        for_: timedelta | None = None,
        not_after: datetime | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ScheduledChange:
        """Have a user's document changed at a moment by PostgreSQL's clock: by a JSON merge patch, by a template, or by
        a rollback to a version.

        Without `at` now, in this transaction. `until`, or after `for_`: it is taken back, the keys it changed get the
        values they had, unless somebody changed them since. `not_after`: it expires if it couldn't be applied by then.
        It is checked now, and again when it is due, against `expected_version`, too.
        Raises UnknownUser, UnknownSettingType, InvalidSettings, UnknownTemplate, UnknownVersion, InvalidArgument;
        without `at` what patch(), apply_template() or rollback() raise.
        """
    def schedule_changes(
        self,
        setting_type: SettingTypeName | str,
        patch: Mapping[str, Any] | None = None,
        *,
        identifiers: Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
        template: str | None = None,
        symbol: str | None = None,
        at: datetime | None = None,
        until: datetime | None = None,
        for_: timedelta | None = None,
        not_after: datetime | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ScheduledChange:
        """Have the documents of these users changed at a moment, or of everybody whose document contains `filter` then,
        each for itself; without `at` now, all or none. Otherwise as schedule_change()."""
    def list_scheduled_changes(
        self,
        identifier: str | None = None,
        *,
        to_come: bool = False,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[ScheduledChange]:
        """List scheduled changes, newest first, of a user (also those of lists) or of all; with `to_come` those that
        aren't over. `before`: the id of the last one of the page before. Secrets are masked. Raises UnknownUser."""
    def iter_scheduled_changes(
        self,
        identifier: str | None = None,
        *,
        to_come: bool = False,
        before: int | None = None,
        limit: int | None = None,
    ) -> SyncIterator[ScheduledChange]:
        """Yield what list_scheduled_changes() lists, without holding it all."""
    def cancel_scheduled_change(self, id: int, *, take_back: bool = False, actor: str | None = None) -> ScheduledChange:
        """Have nothing more happen of a scheduled change: what it did stays, or is taken back now. Raises
        UnknownScheduledChange (over, cancelled, or there is none), InvalidArgument."""
    def begin_rollout(
        self,
        name: str,
        template: str,
        setting_type: SettingTypeName | str,
        *,
        steps: Sequence[Decimal | float | str] = (5, 25, 100),
        filter: Mapping[str, Any] | None = None,
        minimum_trades: int = 100,
        guard: Guard = "net_per_trade",
        on_worse: OnWorse = "pause",
        step_time: timedelta | None = None,
        control: Decimal | float | str = 10,
        currency: str | None = "USDT",
        actor: str | None = None,
        reason: str | None = None,
    ) -> Rollout:
        """Begin to give a template to the users whose document contains `filter` (None: who has one), and return when
        those of the first step have it.

        `steps`: percent of the users who have it then; `control`: percent who get nothing before the end. `guard`: by
        which figure both groups are compared, of trades in `currency`, first when each has `minimum_trades`;
        `on_worse`: what happens if who has it does worse beyond chance. `step_time`: advance after that, unless it is
        worse; None: by advance_rollout(). Raises RolloutRefused (the name is taken, another one changes the same keys),
        UnknownTemplate, InvalidArgument, InvalidSettings, UnknownSettingType.
        """
    def advance_rollout(self, name: str, *, from_step: int | None = None, actor: str | None = None) -> Rollout:
        """Go on to the next step, and return when its users have it. `from_step`: only if it is at that one. Raises
        RolloutRefused."""
    def pause_rollout(self, name: str, *, actor: str | None = None, reason: str | None = None) -> Rollout:
        """Stop a rollout where it is. Raises RolloutRefused."""
    def resume_rollout(self, name: str, *, actor: str | None = None) -> Rollout:
        """Go on with a rollout that is paused. Raises RolloutRefused."""
    def end_rollout(
        self, name: str, outcome: RolloutOutcome, *, actor: str | None = None, reason: str | None = None
    ) -> Rollout:
        """End a rollout, and return when its users have what the outcome says.

        `keep`: who has it keeps it; `everybody`: all get it, the control group too; `roll_back`: each key that it
        changed gets back the value it had, user by user, unless it was changed again since; that, too, of one that has
        ended. Raises RolloutRefused, InvalidArgument.
        """
    def delete_rollout(self, name: str) -> None:
        """Forget a rollout that has ended, with its results; users keep what they have. Raises RolloutRefused."""
    def watch_rollouts(self, name: str | None = None) -> list[RolloutTurn]:
        """Carry on all rollouts, or one, a turn of at most fifty users each; return what was done. The relay does."""
    def list_rollouts(self, name: str | None = None) -> list[Rollout]:
        """List rollouts, the newest first, or the one of a name."""
    def list_rollout_results(self, name: str) -> list[RolloutResult]:
        """List what each look at a rollout found. Raises RolloutRefused (no such rollout)."""
    def fields(self, setting_type: SettingTypeName | str) -> list[SettingField]:
        """List the keys of a setting type that the catalogue knows, by name. Raises UnknownSettingType."""
    def rules(self, setting_type: SettingTypeName | str) -> list[SettingRule]:
        """List what several keys of a setting type must keep to together, by name. Raises UnknownSettingType."""
    def validate(
        self, setting_type: SettingTypeName | str, document: Mapping[str, Any], *, partial: bool = False
    ) -> dict[str, str]:
        """Tell why a document can't be saved, as InvalidSettings.problems of a save would; {} if it can. Saves nothing.

        Of a rule that it breaks, the key is `$` and the rule's name. `partial`: it has some keys only, as a template;
        rules are asked that it has all keys of. Raises UnknownSettingType, InvalidArgument.
        """
    def schema(self, setting_type: SettingTypeName | str, *, language: Language = "en") -> dict[str, Any]:
        """Return JSON Schema (draft 2020-12) of a setting type's documents, with descriptions in English or Korean.

        Its `$comment` names what it can't say. Raises UnknownSettingType, InvalidArgument (the language).
        """
    def lock_setting(
        self,
        identifier: str | None,
        setting_type: SettingTypeName | str,
        keys: Sequence[str] | None = None,
        *,
        reason: str,
        until: datetime | None = None,
        symbol: str | None = None,
        actor: str | None = None,
    ) -> list[SettingLock]:
        """Lock keys (None: the whole document) of a user's settings, or of everybody's (None), in place of earlier
        locks of these: whoever changes them gets SettingLocked, until then or until unlock_setting().

        A type's lock holds for its symbols' documents, too; `symbol`: for that one only. Takes the role settings_admin.
        Raises UnknownUser, BadIdentifier, UnknownSettingType, InvalidArgument, NotPermitted, DatabaseUnavailable.
        """
    def unlock_setting(
        self,
        identifier: str | None,
        setting_type: SettingTypeName | str,
        keys: Sequence[str] | None = None,
        *,
        symbol: str | None = None,
        actor: str | None = None,
    ) -> list[SettingLock]:
        """Remove locks of exactly this scope, of these keys (None: all of them); return those that there were. Not what
        a bot locked. Raises what lock_setting() does."""
    def lock_cold_keys(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        until: datetime,
        *,
        symbol: str | None = None,
        actor: str | None = None,
    ) -> list[SettingLock]:
        """Lock the keys that the catalogue calls changeable only while the bot is stopped: by the bot, when it starts,
        and again before `until` for as long as it runs. Raises what lock_setting() does; any writer may."""
    def unlock_cold_keys(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        actor: str | None = None,
    ) -> list[SettingLock]:
        """Remove what lock_cold_keys() has locked: by the bot, when it stops. Returns it."""
    def list_locks(
        self, identifier: str | None = None, setting_type: SettingTypeName | str | None = None
    ) -> list[SettingLock]:
        """List the locks in force: all, or those that hold for a user (everybody's, too), or of a type and its symbols.
        Raises UnknownUser, BadIdentifier, NotPermitted."""
    def halted(self, identifier: str, symbol: str | None = None) -> Halt | None:
        """Tell whether a user may not trade now, and why: the widest halt in force, of everybody, the user, the symbol,
        or the user's symbol; None: none is. Without `symbol`, halts of symbols don't count.

        By an OKX UID (whether or not anybody has it) from the cache, else Redis, else PostgreSQL, as get() reads; by
        another identifier PostgreSQL is asked whose it is. What somebody else wrote into Redis doesn't count. Where
        neither store answers, nobody knows: raises DatabaseUnavailable, and who can't know must not trade. Raises
        UnknownUser (not an OKX UID, and nobody's), BadIdentifier, InvalidArgument, NotPermitted.
        """
    def list_halts(self, *, include_ended: bool = False) -> list[HaltRecord]:
        """List the halts in force as PostgreSQL has them, the newest first; with those that ended, if asked."""
    def halt_trading(
        self, reason: str, identifier: str | None = None, *, symbol: str | None = None, actor: str | None = None
    ) -> SavedHalt:
        """Halt the trading of everybody, of one user, of one `symbol`, or of one user's symbol.

        Idempotent: the result is the halt in force, which may be an earlier one. With Redis away it holds all the same,
        and `mirrored` is false: bots that read Redis learn of it from the relay. Raises UnknownUser, BadIdentifier,
        InvalidArgument (no reason, no symbol), NotPermitted, DatabaseUnavailable.
        """
    def resume_trading(
        self, reason: str, identifier: str | None = None, *, symbol: str | None = None, actor: str | None = None
    ) -> SavedHalt | None:
        """End the halt of exactly this scope, as halt_trading() has it; None if there is none. Raises what it does."""
    def save_credentials(
        self,
        identifier: str,
        api_key: str,
        api_secret: str,
        passphrase: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedCredentials:
        """Encrypt and save a user's API credentials, as a new version; the same again makes none.

        Otherwise as save(). Raises NoEncryptionKey, InvalidArgument, VersionConflict, UnknownUser,
        DatabaseUnavailable.
        """
    def get_credentials(self, identifier: str, *, min_version: int = 0) -> Credentials | None:
        """Read and decrypt a user's API credentials; None if there are none.

        By OKX UID from Redis; from PostgreSQL if Redis hasn't got them or can't be reached, if what it has isn't ours,
        isn't the version it is said to be, or is older than `min_version` (what a save returned) or than what this
        store has seen. By any other identifier from PostgreSQL: whoever writes into Redis could lead a Telegram ID to
        somebody else's. Raises NoEncryptionKey, WrongEncryptionKey, DamagedCredential, UnknownUser, BadIdentifier,
        UnknownVersion (`min_version` isn't there), and DatabaseUnavailable if neither answers.
        """
    def delete_credentials(
        self,
        identifier: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedCredentials | None:
        """Delete a user's API credentials, from Redis too; the history keeps them, encrypted. None if there were
        none. Raises VersionConflict, UnknownUser."""
    def credentials_history(self, identifier: str) -> list[CredentialsVersion]:
        """List who changed a user's API credentials and when, newest first. Raises UnknownUser."""
    def record_trade(self, identifier: str, trade: Mapping[str, Any]) -> Trade:
        """Record a closed trade, with the versions of the settings that were in force at its entry.

        `trade`: columns of the table by name. Required are symbol, side, entry_time, entry_price, entry_size,
        exit_time, exit_price, exit_size, realized_pnl (before fees and funding) and exit_order_id. Money as Decimal,
        int, float or text; times with a time zone. Idempotent by exit_order_id; but `funding_fee` and `currency`, if
        they weren't known, are recorded then. Raises InvalidArgument (a bad trade, see its problems; or one recorded
        with other data), UnknownUser.
        """
    def record_trades(self, trades: Sequence[Mapping[str, Any]]) -> TradesRecorded:
        """Record trades as record_trade() takes them, each with its `okx_uid`, all or none.

        Raises InvalidArgument; its problems are named by the trade's index: {"3.side": why}.
        """
    def trades(
        self,
        identifier: str,
        *,
        symbol: str | None = None,
        side: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: tuple[datetime, UUID] | None = None,
        limit: int | None = None,
    ) -> SyncIterator[Trade]:
        """Yield a user's trades, newest exit first, a page a query.

        `since`, `until`: exits from then on, and before then. `before`: exit_time and id of a trade; those after it in
        this order. Raises UnknownUser, InvalidArgument.
        """
    def trade_statistics(
        self, identifier: str | None = None, *, by: Sequence[str] = (), **options: Unpack[FigureOptions]
    ) -> list[TradeStatistics]:
        """Tell the figures of a user's trades (None: everybody's): an item per currency, and per group of `by`.

        `by`: any of user, symbol, side; one of day, week, month (of the exit, UTC); one of params, dual_side (version
        in force at entry), params.KEY, dual_side.KEY (value of that setting in it). `options`: `symbol`, `side`,
        `since`, `until`, `currency` select trades; `year_days` (365): by which is annualised (1: it isn't); `capital`:
        what each item began with, for what is told in percent. Raises UnknownUser, InvalidArgument.
        """
    def iter_trade_statistics(
        self, identifier: str | None = None, *, by: Sequence[str] = (), **options: Unpack[FigureOptions]
    ) -> SyncIterator[TradeStatistics]:
        """Yield what trade_statistics() lists, without holding it all."""
    def trade_statistics_by_version(
        self, identifier: str | None = None, setting_type: str = "params", **options: Unpack[FigureOptions]
    ) -> list[TradeStatistics]:
        """Tell which settings earned what: the figures per user and version of params or dual_side at entry.

        `options`: as of trade_statistics().
        """
    def iter_trade_statistics_by_version(
        self, identifier: str | None = None, setting_type: str = "params", **options: Unpack[FigureOptions]
    ) -> SyncIterator[TradeStatistics]:
        """Yield what trade_statistics_by_version() lists, without holding it all."""
    def trade_statistics_by_setting_value(
        self, setting_type: str, key: str, identifier: str | None = None, **options: Unpack[FigureOptions]
    ) -> list[TradeStatistics]:
        """Tell which value of a setting earned what: the figures of everybody's trades (or a user's) per value of a key
        of params or dual_side, in the version in force at entry.

        `value` is None of trades where it wasn't set or isn't known any more, a mask of secrets. `options`: as of
        trade_statistics(). Raises UnknownUser, InvalidArgument.
        """
    def equity_curve(
        self, identifier: str | None = None, setting_type: str = "params", **selection: Unpack[TradeSelection]
    ) -> SyncIterator[EquityPoint]:
        """Yield what a user's trades (None: everybody's) earned up to each exit, currency by currency, oldest first.

        `selection`: `symbol`, `side`, `since`, `until`, `currency`. Raises UnknownUser, InvalidArgument.
        """
    def upsert_candles(self, timeframe: str, candles: Sequence[Candle], *, force: bool = False) -> Written:
        """Save candles, all or none; one that is there already is left or replaced.

        An unfinished one is replaced by whatever comes; a finished one only by other values with `force`, and never by
        an unfinished one. Raises HistoryIsImmutable (a finished candle would change), InvalidArgument (unknown
        timeframe, bad candle), NotPermitted.
        """
    def get_candles(
        self,
        symbol: str,
        timeframe: str,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        after: datetime | None = None,
        limit: int | None = None,
    ) -> list[Candle]:
        """Read candles in the order of time: from `from_` on, before `to`; a page of `limit` after that `ts`.

        Raises InvalidArgument (unknown timeframe).
        """
    def candles(
        self,
        symbol: str,
        timeframe: str,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        limit: int | None = None,
    ) -> SyncIterator[Candle]:
        """Yield candles in the order of time, as of one moment, without holding them all. Raises as get_candles()."""
    def rollup_candles(
        self,
        symbol: str | None,
        from_timeframe: str,
        to_timeframe: str,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        force: bool = False,
    ) -> Written:
        """Make candles of a coarser timeframe of those of a finer one, of one symbol or all (None).

        One of which a part is missing or unfinished is unfinished; where there is none, none is made. What the range
        touches is made whole. Raises as upsert_candles(); InvalidArgument also for timeframes that don't fit.
        """
    def missing_candles(
        self, symbol: str, timeframe: str, *, from_: datetime | None = None, to: datetime | None = None
    ) -> list[Gap]:
        """Find the gaps in a symbol's candles, by default between its first and last one. Raises InvalidArgument."""
    def iter_missing_candles(
        self, symbol: str, timeframe: str, *, from_: datetime | None = None, to: datetime | None = None
    ) -> SyncIterator[Gap]:
        """Yield what missing_candles() finds, without holding it all."""
    def import_candles(
        self,
        file: BinaryIO,
        timeframe: str,
        *,
        symbol: str | None = None,
        format: str | None = None,
        force: bool = False,
        progress: Callable[[int], None] = ...,
    ) -> Written:
        """Take candles from a file of any size, all or none, by the rule of upsert_candles().

        `format`: store, okx, ccxt, freqtrade, binance, cryptodatadownload or kraken (docs/files.md); None: as it looks.
        CSV or JSON, plain, gz or zip. `symbol`: of all candles, if the file doesn't say it. `progress` is told the
        bytes read. Raises InvalidArgument (a bad line, by number), HistoryIsImmutable, NotPermitted.
        """
    def export_candles(
        self,
        file: BinaryIO,
        symbols: Sequence[str],
        timeframe: str,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        progress: Callable[[int], None] = ...,
    ) -> int:
        """Write candles as CSV, which import_candles() reads, as of one moment; return how many.

        A symbol after the other, each in the order of time; nothing at all if there are none. `progress` is told of
        candles. Raises as get_candles(), before anything is written.
        """
    def report(
        self,
        identifier: str | None = None,
        *,
        symbol: str | None = None,
        side: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        timeframe: str | None = None,
        by_setting: Sequence[str] = ("params.leverage",),
    ) -> str:
        """Draw what a user's trades earned (None: everybody's), and under which settings, as one page of HTML (5 MB).

        It needs nothing beside itself: no server, no network. All of it is of one moment; secrets are masked. `since`,
        `until`: exits from then on, and before then. `timeframe`: of the candles (None: what fits). `by_setting`: keys
        of params or dual_side to group results by. Raises ConfigError (the extra settings-store[report] isn't
        installed), UnknownUser, InvalidArgument.
        """
