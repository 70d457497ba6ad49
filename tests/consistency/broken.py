"""The breaks, and the runs that find them."""

from __future__ import annotations

from dataclasses import dataclass

STALE = ("stale Redis", "stale cache", "content", "watch order", "equal")
LAGGING = ("redis_line_cut", "redis_paused")


@dataclass(frozen=True)
class Broken:
    """A break. `rules`: one of these must find it; `faults`: of the nemesis's; `is_rare`: it shows so seldom that it is
    tried only by name."""

    name: str
    what: str
    changes: list[tuple[str, str, str]]  # file, old text, new text
    rules: tuple[str, ...]
    faults: tuple[str, ...] = ()
    rogues: int = 0
    ops: int = 20_000
    round_ops: int = 2000
    users: int = 8
    pace: float = 0.5
    seed: int = 1
    is_rare: bool = False


# fmt: off
BROKEN = [
    Broken("guard_off", "apply.lua writes an older version over a newer", [
        ("store/mirror/apply.lua",
         "elseif version < current or (current > 0 and updated_at < mirrored_at) then",
         "elseif false then"),
        ("store/mirror/apply.lua",
         "found == given and (version > current or mirrored_at == updated_at)",
         "found == given"),
    ], STALE, ("redis_line_slow",)),
    Broken("marks_cleared_early", "marks are cleared before Redis has the version", [
        ("store/coherence/mirroring.py",
         "    results = []\n" "    # What is there",
         "    for each in entries:\n"
         "        stores.marks.done(each, each.version)\n"
         "    results = []\n"
         "    # What is there"),
    ], ("equal",), LAGGING),
    Broken("marks_not_made", "a change marks nothing", [
        ("sql/settings/user_settings_changed.trigger.sql",
         "    perform _mark_pending(new.okx_uid, new.setting_type, new.version);",
         ""),
    ], ("equal",)),
    Broken("cache_deaf", "the cache doesn't hear of changes", [
        ("store/mirror/cache.py",
         "            self.forget(parts[0] for name in names",
         "            list(parts[0] for name in names"),
    ], ("stale cache",), round_ops=5000, users=4),
    Broken("cache_without_end", "the cache serves hits however long Redis is silent", [
        ("store/mirror/cache.py", "if time.monotonic() > self._fresh_until:", "if not self._fresh_until:"),
        ("store/mirror/cache.py", "elif now >= asked + STALE:", "elif now >= asked + 60:"),
        ("store/mirror/cache.py", "PING if is_answered else STALE)", "PING if is_answered else 60)"),
    ], ("stale cache",), ("redis_line_hung",), users=2, pace=0.1, is_rare=True),
    Broken("own_saves_kept", "the cache isn't told of this store's own saves", [
        ("store/mirror/cache.py",
         "            for owner in owners:\n" "                self._pages.pop(owner, None)",
         "            return"),
    ], ("stale cache",), users=4),
    Broken("torn_reads", "a read takes version and content at two moments", [
        ("store/mirror/client.py",
         "        return reply\n" "\n" "    async def _shared(",
         "        (later,) = await self._shared(okx_uid, [call])\n"
         "        return [*reply[:3], later[3]] if reply and later else None\n"
         "\n"
         "    async def _shared("),
    ], ("content", "credentials"), ("redis_line_slow",), users=4),
    Broken("links_not_marked", "a Telegram ID that moves isn't marked", [
        ("sql/users/telegram_links_mark.trigger.sql",
         "    perform _mark_pending(new.telegram_id, 'telegram', new.version);",
         ""),
    ], ("equal", "link")),
    Broken("history_lost", "a change doesn't archive what it replaces", [
        ("sql/settings/user_settings_changed.trigger.sql", "        insert into user_settings select old.*;", ""),
    ], ("history",)),
    Broken("version_reused", "a deletion takes no version of its own", [
        ("sql/settings/user_settings_version.trigger.sql",
         "new.version    := old.version + 1;",
         "new.version    := old.version + case when new.deleted_at is null then 1 else 0 end;"),
    ], ("gapless", "history")),
    Broken("two_active", "a deletion leaves the row that it archives active", [
        ("migrations/0002_settings.sql",
         "create unique index idx_user_settings_unique_active on",
         "create index idx_user_settings_unique_active on"),
        ("sql/settings/user_settings_changed.trigger.sql",
         "old.is_active := false;",
         "old.is_active := new.deleted_at is not null;"),
    ], ("history", "gapless", "twice")),
    Broken("least_ignored", "min_version is ignored", [
        ("store/api/settings.py", "return found.version >= min_version and", "return True and"),
    ], ("least",), LAGGING),
    Broken("refill_unguarded", "a read that fills Redis again takes the guard away first", [
        ("store/api/settings.py",
         "        # Erased meanwhile: the relay looks",
         "        await mirror.redis.delete(*(mirror.keys.mirror(owner) for owner in owners))\n"
         "        lives = await mirror.lives(owners)\n"
         "        # Erased meanwhile: the relay looks"),
    ], (*STALE, "watch complete", "telegram_id"), ("evicted",), round_ops=5000, users=4, pace=0.1),
    Broken("relay_skips", "the relay passes over half of the users", [
        ("store/coherence/relay.py",
         "if entry.suffix is None:  #",
         'if entry.suffix is None or entry.owner[-1] in "13579":  #'),
    ], ("equal", "healing")),
    Broken("relay_blind", "the relay doesn't look whether Redis is still the same", [
        ("store/coherence/relay.py",
         "if self._is_started and await epochs.is_reconciled(self._stores, now):",
         "if self._is_started:"),
    ], ("healing", "equal"), ("redis_restored_old",), pace=0.2),
    Broken("followed_unseen", "a Redis that took over another's data counts as the same", [
        ("store/mirror/servers.py", "{replication.get('master_replid', '')}", ""),
    ], ("healing", "equal", "stale Redis"), ("redis_reloaded_old",), ops=40_000, round_ops=4000, pace=0.2),
    Broken("erased_come_back", "what an older Redis has of erased people stays there", [
        ("store/coherence/relay.py", "await mark_left_of_erased(stores, may_go_on)", "pass"),
    ], ("healing", "equal", "stale Redis"), ("redis_restored_with_erased",), pace=0.2),
    Broken("former_life", "what an older Redis has of a former life of who has registered again stays there", [
        ("store/coherence/erased.py", "functions.users.returned_owners(owners)", "functions.users.returned_owners([])"),
    ], ("healing", "equal", "stale Redis"), ("redis_restored_with_erased",), pace=0.2),
    Broken("erasure_leaves", "an erasure leaves the documents in Redis", [
        ("store/mirror/apply.lua",
         "type_ ~= expected or is_erased) then",
         "type_ ~= expected or is_erased) and not is_erased then"),
    ], ("equal", "stale Redis", "content"), users=4),
    Broken("deletion_left", "a deleted document stays in Redis", [
        ("sql/mirror/mirror_source.view.sql",
         "s.updated_at, case when s.deleted_at is null then s.settings end as document",
         "s.updated_at, s.settings as document"),
        ("store/api/base.py", 'None if row["deleted_at"] else row["document"]', 'row["document"]'),
    ], ("equal", "content")),
    Broken("watch_drops", "a watch drops one change in five", [
        ("store/api/watch.py",
         "if change.version > seen.get((change.okx_uid, change.setting_type), 0):",
         "if change.version % 5 and change.version > seen.get((change.okx_uid, change.setting_type), 0):"),
    ], ("watch complete",)),
    Broken("watch_backwards", "a watch yields what it was told late", [
        ("store/api/watch.py", "if change.version > seen.get((change.okx_uid, change.setting_type), 0):", "if True:"),
        ("store/api/watch.py",
         "                        yield change\n",
         "                        yield change\n"
         "                        if change.version % 7 == 0:\n"
         "                            yield change\n"),
    ], ("watch order",)),
    Broken("feed_hasty", "the feed doesn't wait for transactions that commit late", [
        ("sql/history/changes_after.sql",
         "n.saved_in < pg_snapshot_xmin(v_snapshot)",
         "n.saved_in < pg_snapshot_xmax(v_snapshot)"),
    ], ("feed",)),
    Broken("expected_ignored", "expected_version isn't checked", [
        ("sql/settings/_check_version.sql", "if p_version <> p_expected_version then", "if false then"),
    ], ("expected",)),
    Broken("sync_overwrites", "sync takes what is stale in Redis for an edit", [
        ("sql/mirror/_compare_documents.sql",
         "when i.version between 1 and s.version and (",
         "when i.version = -1 and ("),
        ("sql/mirror/_compare_documents.sql",
         "i.document is null or e.is_active or e.is_given then",
         "i.document is null or e.is_active then"),
    ], ("invented",), ("redis_line_cut", "synced"), pace=0.1),
    Broken("others_credentials", "a store hands out the first credentials that it read, whoever asks", [
        ("store/api/credentials.py",
         'return Credentials(okx_uid, **plain, version=version, updated_at=updated_at, source="redis")',
         'self._first = getattr(self, "_first", plain)\n'
         '        return Credentials(okx_uid, **self._first, version=version, updated_at=updated_at, source="redis")'),
    ], ("credentials",)),
    Broken("unknown_is_success", "a save that was cancelled, or whose server went away, returns as if it were done", [
        ("store/api/base.py",
         "        return await self._mirror_settings(await self._write(call.mirrored(), actor, reason))",
         "        from dataclasses import replace\n"
         "        try:\n"
         "            rows = await self._write(call.mirrored(), actor, reason)\n"
         "        except (asyncio.CancelledError, DatabaseUnavailable):\n"
         '            if not hasattr(self, "_told"):\n'
         "                raise\n"
         "            return [replace(saved, version=saved.version + 1) for saved in self._told]\n"
         "        self._told = await self._mirror_settings(rows)\n"
         "        return self._told"),
    ], ("lost",), ("postgres_backends_ended",)),
    Broken("mirrored_without_redis", "a save says `mirrored` though Redis is away", [
        ("store/api/base.py",
         "            return [to_saved(row, False) for row in rows]",
         "            return [to_saved(row, True) for row in rows]"),
    ], ("stale Redis", "stale cache"), LAGGING),
    Broken("boards_departed", "a read joins a flight that has departed", [
        ("store/api/flights.py",
         "        finally:\n" "            del self._boarding[key]\n" "        self._last[key]",
         "        finally:\n" "            pass\n" "        self._last[key]"),
        ("store/api/flights.py",
         "        finally:\n" "            if self._last.get(key) is flight:",
         "        finally:\n" "            del self._boarding[key]\n" "            if self._last.get(key) is flight:"),
    ], ("stale database", "least", "absent"), ("postgres_line_slow",), users=2, pace=0.2, is_rare=True),
    Broken("late_apply", "what nothing guards is written to Redis, however late it comes", [
        ("store/mirror/apply.lua", "if life ~= ARGV[11] then", "if false then"),
    ], (*STALE, "telegram_id", "link"), ("evicted_while_late",), round_ops=5000, users=4, pace=0.1),
    Broken("rogues_lost", "what somebody else wrote into Redis is overwritten without being kept", [
        ("store/coherence/mirroring.py", "            await keep(stores, [(place, found)])", "            pass"),
    ], ("kept",), rogues=1),
    Broken("rollback_elsewhere", "a rollback takes the version before", [
        ("sql/history/rollback_user_setting.sql",
         "v_target := user_setting_version(v_user.okx_uid, v_name, p_version);",
         "v_target := user_setting_version(v_user.okx_uid, v_name, greatest(p_version - 1, 1));"),
    ], ("copied",)),
]
# fmt: on
