"""The commands that keep both sides equal: relay, verify, sync, watch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from store.commands.common import Number, as_json, run, tell_if_embedded
from store.commands.log_format import configure_logs
from store.commands.output import moment, plain, print_json, print_table, say
from store.commands.progress import counting
from store.commands.streams import acts

if TYPE_CHECKING:
    from store.api.store import SettingsStore
    from store.coherence.verify import Report


@click.command()
@click.option("--once", is_flag=True, help="Mirror what is marked now, and end; for cron and tests.")
@click.option(
    "--poll",
    type=Number(0.001, 60, is_whole=False),
    metavar="SECONDS",
    default=0.02,
    show_default=True,
    help="Seconds between looks.",
)
@click.option("--notify", is_flag=True, help="Have writers tell it of changes: see below.")
@click.option("--metrics-port", type=Number(1, 65535), metavar="N", help="Serve metrics for Prometheus there.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="The address to serve metrics on.")
@click.option("--probe", type=Number(0.01, 3600, is_whole=False), metavar="SECONDS",
              help="Probe this often: see below.")  # fmt: skip
@as_json
@acts
def relay(
    once: bool,
    poll: float,
    notify: bool,
    metrics_port: int | None,
    metrics_host: str,
    probe: float | None,
    as_json: bool,
) -> None:
    """Bring to Redis what any writer changed in PostgreSQL. Runs until SIGTERM or Ctrl-C, then drains.

    Reconciles all keys at its start, and when Redis restarted, failed over or lost its data. Several may
    run. With --once the exit code is 1 if a key can't be brought to Redis, or another transaction holds it.
    docs/operations.md has it as a service, its metrics and alerts.

    With --notify whoever changes something by SQL tells it by NOTIFY, while there is little to do: looks are 0.25 s
    apart meanwhile. Where that can't be (behind a pooler, say), it polls as without, and the log says why.

    With --probe it also writes a document of a user of its own, who is in no list, every so many seconds, reads it by
    every path, and compares that with PostgreSQL: what is wrong is logged and counted. The login needs the rights of
    settings_reader, too, as it reads as bots do.

    \b
    Example:
      settings-store relay
      settings-store relay --once
      settings-store relay --notify --metrics-port 9187 --probe 1
    """
    from store.operations import service

    tell_if_embedded()
    if as_json and not once:
        raise click.UsageError("--json is for --once; of a relay that goes on running see --log-format json.")
    if once and metrics_port is not None:
        raise click.UsageError("--metrics-port is for a relay that goes on running, not for --once.")
    if once and notify:
        raise click.UsageError("--notify is for a relay that goes on running, not for --once.")
    if once and probe is not None:
        raise click.UsageError("--probe is for a relay that goes on running, not for --once.")
    if not once:
        configure_logs(talkative=True)
        at = None if metrics_port is None else (metrics_host, metrics_port)
        run(lambda store: service.run_relay(store, poll, at, probe, notify))
        return
    progress, lag = run(lambda store: service.relay_once(store._connections))
    problems = progress.failures | progress.held
    if as_json:
        print_json({"mirrored": progress.mirrored, "failures": _failures(problems), **lag})
    else:
        say(f"mirrored {progress.mirrored} keys; {lag['waiting']} waiting, {lag['set_aside']} set aside")
        for (owner, kind), why in problems.items():
            say(f"  {kind} of {owner}: {why}", err=True)
    if problems:
        sys.exit(1)


def _failures(problems: dict[tuple[str, str], str]) -> list[dict[str, str]]:
    return [{"owner": owner, "kind": kind, "error": why} for (owner, kind), why in problems.items()]


@click.command()
@click.option("--okx-uid", metavar="U", help="This user only.")
@click.option("--repair", is_flag=True, help="Mend what differs: PostgreSQL wins, Redis's value goes into the history.")
@click.option("--force", is_flag=True, help="With --repair: also where Redis holds what sync couldn't read.")
@as_json
@acts
def verify(okx_uid: str | None, repair: bool, force: bool, as_json: bool) -> None:
    """Compare every key of both sides. Exit code 0 if equal, 1 if findings remain.

    Findings: missing (not in Redis), stale (older in Redis), pending (missing or stale, but marked for the
    relay), ahead (newer in Redis: PostgreSQL came back from a backup), edited (somebody wrote into Redis),
    unmarked (never mirrored by us: `sync` takes it over), orphan (PostgreSQL has no such document), deleted
    (unmarked, of a deleted user: --repair keeps it in the history and removes it), large (more than a
    document can be: of this --repair keeps a note in the history), erased (of a person who was erased, in an
    old copy of Redis: --repair removes it). API credentials (api_keys) are edited or orphan, too, after a
    change of MIRROR_CREDENTIALS: --repair. A value in an older encoding (`False`, 0) is no finding.
    PostgreSQL's and Redis's versions are shown, values never. What a verify of all keys found is kept for
    `status` and the relay's metrics.

    A document that has keys which `sync` couldn't read stays as Redis has it: --repair says whose it is and
    which keys these are, and overwrites it with --force. Plain API keys stay, too, until MIRROR_CREDENTIALS
    is set.

    \b
    Example:
      settings-store verify
      settings-store verify --repair --json
    """
    from store.operations import service

    if force and not repair:
        raise click.UsageError("--force is for --repair.")
    tell_if_embedded()

    async def work(store: SettingsStore) -> Report:
        if bar.is_shown and okx_uid is None:
            bar.expect(await service.key_count(store._connections), is_estimate=True)
        return await service.verify_and_record(store._connections, okx_uid, repair, force, bar)

    with counting("verify") as bar:
        report = run(work)
    users = [
        {"owner": f.owner, "kind": f.kind, "finding": f.finding, "db_version": f.db_version,
         "redis_version": f.redis_version}
        for f in report.users
    ]  # fmt: skip
    unnamed = sum(report.findings.values()) - len(users)
    if as_json:
        print_json({"checked": report.checked, "ok": report.ok, "findings": dict(report.findings),
                    "repaired": report.repaired, "users": users, "unnamed": unnamed,
                    "failures": _failures(report.failures), "held": _failures(report.held)})  # fmt: skip
    else:
        if users:
            columns = ("owner", "kind", "finding", "PostgreSQL", "Redis")
            print_table(columns, [tuple("-" if v is None else str(v) for v in user.values()) for user in users])
            if unnamed:
                say(f"… and {unnamed} more")
        found = ", ".join(f"{number} {kind}" for kind, number in report.findings.items()) or "no findings"
        say(f"checked {report.checked} keys: {found}" + (f"; {report.repaired} repaired" if repair else ""))
        for (owner, kind), why in report.failures.items():
            say(f"  {kind} of {owner}: {why}", err=True)
        for (owner, kind), why in report.held.items():
            say(f"  {kind} of {owner}, left as Redis has it: {why}", err=True)
        if report.held:
            say("PostgreSQL's are put there all the same by: settings-store verify --repair --force", err=True)
        if report.findings["pending"] and not repair:
            say("pending keys are brought by: settings-store relay, or relay --once", err=True)
        if report.findings["unmarked"] + report.findings["orphan"] and report.remaining:
            say("what only Redis has is taken over by: settings-store sync", err=True)
        if report.findings["erased"] and not repair:
            say("what is left of erased people goes by: settings-store verify --repair, or user erase", err=True)
    if report.remaining:
        sys.exit(1)


@click.command(short_help="Take over into PostgreSQL what only Redis has.")
@click.option("--dry-run", is_flag=True, help="Write nothing on either side; print what would happen.")
@click.option("--okx-uid", metavar="U", help="This user only.")
@click.option("--from", "source", type=click.Choice(["redis", "db"]), default="redis", show_default=True,
              help="redis: take over what Redis has; db: rebuild Redis from PostgreSQL.")  # fmt: skip
@click.option("--prefer", type=click.Choice(["redis", "db"]), help="Who wins where both sides changed.")
@as_json
@acts
def sync(dry_run: bool, okx_uid: str | None, source: str, prefer: Any, as_json: bool) -> None:
    """Take over into PostgreSQL what only Redis has: new users, older encodings, edited settings.

    Three ways: what Redis was given tells a stale key (mirrored again) from an edited one (a new version)
    and from one changed on both sides (a conflict: --prefer decides, the loser stays in the history). Where
    a relay runs, it decides conflicts at once: PostgreSQL wins, Redis's value goes into the history.
    Exit code 1 if conflicts or bad data remain.

    \b
    Example:
      settings-store sync --dry-run
      settings-store sync --okx-uid 587662504768345929 --prefer redis
    """
    from store.operations import service

    async def work(store: SettingsStore) -> service.SyncReport:
        if bar.is_shown and (source == "redis" or okx_uid is None):  # of Redis all keys are looked at, whosever
            bar.expect(await service.key_count(store._connections, source), is_estimate=True)
        return await service.sync(store._connections, source, okx_uid, prefer, dry_run, bar)

    with counting("sync") as bar:
        report = run(work)
    unnamed = sum(number for name, number in report.outcomes.items() if name != "ok") - len(report.keys)
    if as_json:
        print_json({"dry_run": dry_run, "outcomes": report.outcomes, "keys": report.keys, "unnamed": unnamed})
    else:
        for key in report.keys:
            problems = key.get("problems") or {}
            say(f"{key['key']}: {key['outcome']}")
            for name, why in problems.items():
                say(f"  {name}: {why}")
        if unnamed:
            say(f"… and {unnamed} more")
        would = "would be " if dry_run else ""
        say(", ".join(f"{number} {would}{name}" for name, number in report.outcomes.items()) or "Redis has no settings")
        if report.outcomes.get("bad"):
            say("what is no document stays; PostgreSQL's is put back by: settings-store verify --repair", err=True)
        if report.outcomes.get("partial") or report.outcomes.get("invalid"):
            text = "bad values stay in Redis; PostgreSQL's are put back by: settings-store verify --repair --force"
            say(text, err=True)
        if report.outcomes.get("deleted"):
            say("what is left of people deleted or erased goes by: settings-store verify --repair", err=True)
    if report.unresolved:
        sys.exit(1)


@click.command(short_help="Print changes as they reach Redis.")
@click.argument("identifier", required=False)
@click.option("--halts", is_flag=True, help="Also when any halt of trading begins or ends.")
@as_json
def watch(identifier: str | None, halts: bool, as_json: bool) -> None:
    """Print changes as they reach Redis, of one user or of all, until Ctrl-C.

    A line each: when it was seen, whose it is, and what is there now; a deletion is a version, too. With --json an
    object a line: okx_uid, setting_type, version.

    \b
    Example:
      settings-store watch 587662504768345929
    """
    from datetime import UTC, datetime
    from json import dumps

    if sys.stderr.isatty():
        say(f"watching {identifier or 'all users'}; Ctrl-C ends it", err=True)

    async def follow(store: SettingsStore) -> None:
        async for change in store.watch(identifier, halts=halts):
            seen = f"{moment(datetime.now(UTC))} · {change.okx_uid} · {change.setting_type} version {change.version}"
            say(dumps(plain(change)) if as_json else seen)
            sys.stdout.flush()

    run(follow)
