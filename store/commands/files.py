"""The commands of files: export, import, backup, restore-backup."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from store.commands.common import as_json, confirm, run, tell_if_embedded, who
from store.commands.output import counted, moment, plain, print_changes, print_json, print_styled, say
from store.commands.progress import counting
from store.commands.streams import acts

if TYPE_CHECKING:
    from store.api.store import SettingsStore
    from store.files.backup import Manifest, Restored
    from store.files.export import Imported

path = click.argument("path", metavar="FILE", type=click.Path(path_type=Path))


@click.command("export")
@click.argument("identifiers", metavar="[IDENTIFIER]…", nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="All users.")
@click.option("-o", "--output", "output", type=click.Path(path_type=Path), metavar="FILE",
              help="Write to a file (mode 0600; an older one is replaced) instead of standard output.")  # fmt: skip
@click.option("--with-secrets", is_flag=True, help="Don't mask secrets (signal_bot_token).")
def export(identifiers: Sequence[str], everybody: bool, output: Path | None, with_secrets: bool) -> None:
    """Write users with their active settings as JSON. The same data make the same bytes.

    Without credentials, trades and history: that is what `backup` is for. Secrets are masked; `import` leaves masked
    ones as they are.

    \b
    Example:
      settings-store export --all -o settings.json
      settings-store export 587662504768345929
    """
    from store.files import backup, export, private

    if bool(identifiers) == everybody:
        raise click.UsageError("Give IDENTIFIERs, or --all.")
    whom = identifiers or None
    output = None if str(output) == "-" else output

    async def work(store: SettingsStore, file: BinaryIO) -> int:
        if bar.is_shown:
            total = len(identifiers) or await backup.count_rows(store, ("app_users",))
            bar.expect(total, is_estimate=everybody)
        return await export.export_users(store, file, whom, with_secrets=with_secrets, progress=bar)

    with counting("export", "users") as bar:
        if output is None:
            stdout = sys.stdout.buffer
            run(lambda store: work(store, stdout))
            stdout.flush()
            return
        with private.private_file(output, overwrite=True) as file:
            users = run(lambda store: work(store, file))
    say(f"wrote {counted(users, 'user')} to {click.format_filename(output)}", err=True)


@click.command("import", short_help="Take users and settings from a file of export.")
@click.argument("file", metavar="FILE", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Write nothing; show what would change.")
@who
@as_json
def import_(file: Any, dry_run: bool, as_json: bool) -> None:
    """Take users with settings from a FILE that `export` wrote (-: standard input), all or none.

    Users and types that aren't in it stay as they are. Any error rejects the whole file and is named by line and key.

    \b
    Example:
      settings-store import settings.json --dry-run
      settings-store import settings.json --reason "from staging"
    """
    from store.files import export

    effects: list[Imported] = []

    def tell(effect: Imported) -> None:
        if dry_run and effect.outcome != "unchanged":
            effects.append(effect)

    data = file.read()
    with counting("import", "steps") as bar:
        report = run(
            lambda store: export.import_users(
                store, data, dry_run=dry_run, tell=tell, progress=bar, expect=bar.expect
            )
        )  # fmt: skip
    if not report.users:
        say("the file holds no users: nothing was changed", err=True)
    if as_json:
        print_json({"dry_run": dry_run, **plain(report), "effects": effects})
        return
    for effect in effects:
        print_styled(f"{effect.okx_uid} {effect.setting_type or 'user'}: {effect.outcome}", "bold")
        print_changes(effect.changes)
    would = "would be " if dry_run else ""
    for what, counts in (("users", report.users), ("documents", report.documents)):
        say(f"{what}: " + (", ".join(f"{n} {would}{outcome}" for outcome, n in sorted(counts.items())) or "none"))
    if report.left_out:
        say(f"{report.left_out} masked secrets without a current value were left out", err=True)
    if report.incomplete:
        say(f"{counted(report.incomplete, 'document')} without keys that the catalogue lists", err=True)
    if not dry_run and not report.mirrored:
        say("Redis will get it from the relay", err=True)


@click.command(short_help="Write everything with its full history to a file.")
@path
@as_json
@acts
def backup(path: Path, as_json: bool) -> None:
    """Write everything with its full history to a FILE, as of one moment, while writers write.

    A ZIP of mode 0600 with a manifest (row counts, SHA-256). Credentials are in it as ciphertext: the keys they were
    encrypted with are not.

    \b
    Example:
      settings-store backup settings-2026-11-22.zip
    """
    from store.files import backup, private

    if str(path) == "-":
        raise click.UsageError("A backup can't go to standard output: name a file.")
    tell_if_embedded()

    async def work(store: SettingsStore) -> Manifest:
        if bar.is_shown:
            bar.expect(await backup.count_rows(store), is_estimate=True)
        return await backup.backup(store, file, bar)

    with counting("backup", "rows") as bar, private.private_file(path, overwrite=False) as file:
        manifest = run(work)
    if as_json:
        print_json(manifest)
    else:
        rows = ", ".join(f"{table.rows} {name}" for name, table in manifest.tables.items())
        say(f"wrote {click.format_filename(path)}: {rows}")


@click.command("restore-backup", short_help="Bring a backup back.")
@path
@click.option("--okx-uid", metavar="U", help="This user's settings only, as new versions.")
@click.option("--merge", is_flag=True, help="Everybody's settings, as new versions where they differ.")
@click.option("--replace", is_flag=True, help="Throw away everything that is in the database. IRREVOCABLE.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@who
@as_json
def restore_backup(path: Path, okx_uid: str | None, merge: bool, replace: bool, yes: bool, as_json: bool) -> None:
    """Bring a backup FILE back: into an empty migrated database, every row as it was.

    A damaged, cut or newer file is refused before anything is written; so is a database that isn't empty, unless
    --okx-uid, --merge or --replace say what to do. Afterwards Redis is brought to what PostgreSQL has; what only Redis
    had goes into the history first. API credentials come back as ciphertext: the encryption keys they were written with
    are needed, too (SETTINGS_STORE_KEYS, or encryption.keys of the embedded servers).

    \b
    Example:
      settings-store restore-backup settings-2026-11-22.zip
      settings-store restore-backup settings-2026-11-22.zip --okx-uid 587662504768345929
    """
    from store.encryption import rotation
    from store.files import backup

    if (okx_uid is not None) + merge + replace > 1:
        raise click.UsageError("Give one of these: --okx-uid, --merge, --replace.")
    if replace and not yes:
        confirm("Everything that is in the database will be lost. Restore?")

    async def work(store: SettingsStore) -> tuple[Restored, list[str]]:
        restored = await backup.restore_backup(
            store, path, replace=replace, merge=merge, okx_uid=okx_uid, progress=bar, expect=bar.expect
        )
        return restored, await rotation.missing_keys(store)

    with counting("restore", "rows") as bar:
        restored, missing = run(work)
    if missing:
        say(f"API credentials were encrypted with keys that aren't given here: {', '.join(missing)}", err=True)
    if as_json:
        print_json(restored)
        return
    made = moment(restored.manifest.made_at)
    if restored.unknown:
        say(f"Redis has {restored.unknown} keys of users the backup doesn't know: sync takes them over", err=True)
    redis = "Redis is up to it" if restored.mirrored else "Redis will be brought up by the relay"
    users = counted(restored.users, "user")
    if merge or okx_uid is not None:
        say(f"{users} of the backup of {made}: {counted(restored.versions, 'new version')}; {redis}")
    else:
        say(f"restored {users}, {counted(restored.versions, 'version')} of {made}; {redis}")
