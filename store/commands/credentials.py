"""The commands of API credentials: set, show, delete, history, rotate, generate, encrypt-existing."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from store.commands.common import as_json, asking, expect_version, identifier, run, who
from store.commands.output import counted, moment, parse_object, print_json, print_table, say, writer
from store.commands.progress import counting
from store.commands.streams import acts

if TYPE_CHECKING:
    from store.api.store import SettingsStore
    from store.encryption.rotation import Rotation
    from store.models import SavedCredentials


@click.group(short_help="Keep the exchange's API credentials, encrypted.")
def keys() -> None:
    """Keep the API credentials of the exchange, encrypted (AES-256-GCM) before they leave this process.

    The encryption keys are in SETTINGS_STORE_KEYS or in the file SETTINGS_STORE_KEYS_FILE; the embedded servers make
    one of their own.

    \b
    Example:
      settings-store keys set 587662504768345929
    """


@keys.command("set", short_help="Save a user's API credentials; asks for them.")
@identifier
@click.option("--stdin", "stdin", is_flag=True,
              help="Read a JSON object with api_key, api_secret and passphrase from standard input.")  # fmt: skip
@expect_version
@who
@as_json
def keys_set(identifier: str, stdin: bool, expect_version: int | None, as_json: bool) -> None:
    """Save a user's API credentials; asks for them without echo. Never as arguments: others see those.

    \b
    Example:
      settings-store keys set 587662504768345929
      settings-store keys set 587662504768345929 --stdin < credentials.json
    """
    from store.encryption.fields import FIELDS, Secrets

    if stdin:
        given = parse_object(sys.stdin.buffer.read())
        if set(given) != set(FIELDS) or not all(isinstance(value, str) for value in given.values()):
            raise click.ClickException("the JSON object must hold api_key, api_secret and passphrase, all strings")
    else:
        with asking():
            given = {name: click.prompt(name.replace("_", " "), hide_input=True, err=True) for name in FIELDS}
    plain = Secrets(given)
    del given  # no traceback shows it with this frame's locals
    saved = run(lambda store: store.save_credentials(identifier, **plain, expected_version=expect_version))
    _print_saved(saved, as_json)


@keys.command("show")
@identifier
@click.option("--reveal", is_flag=True, help="Show them in plain text.")
@as_json
def keys_show(identifier: str, reveal: bool, as_json: bool) -> None:
    """Show a user's API credentials, masked. Exit code 1 if there are none.

    \b
    Example:
      settings-store keys show 587662504768345929
    """
    from store.encryption.fields import FIELDS

    found = run(lambda store: store.get_credentials(identifier))
    if found is None:
        raise click.ClickException(f"no API credentials of {identifier}")
    shown = {name: value if reveal else mask(value) for name in FIELDS for value in [getattr(found, name)]}
    if as_json:
        about = {"okx_uid": found.okx_uid, "version": found.version, "updated_at": found.updated_at}
        print_json({**about, "source": found.source, **shown})
        return
    say(f"version {found.version} · {moment(found.updated_at)} · from {found.source}")
    print_table(None, list(shown.items()))


@keys.command("delete", short_help="Delete a user's API credentials.")
@identifier
@expect_version
@who
@as_json
def keys_delete(identifier: str, expect_version: int | None, as_json: bool) -> None:
    """Delete a user's API credentials, from Redis too; the history keeps them, encrypted. Exit code 1 if none.

    \b
    Example:
      settings-store keys delete 587662504768345929 --reason "revoked on the exchange"
    """
    saved = run(lambda store: store.delete_credentials(identifier, expected_version=expect_version))
    if saved is None:
        raise click.ClickException(f"no API credentials of {identifier}")
    _print_saved(saved, as_json)


@keys.command("history", short_help="Show who changed a user's API credentials, and when.")
@identifier
@as_json
def keys_history(identifier: str, as_json: bool) -> None:
    """Show who changed a user's API credentials, when and why; never what.

    \b
    Example:
      settings-store keys history 587662504768345929
    """
    found = run(lambda store: store.credentials_history(identifier))
    if as_json:
        print_json(found)
        return
    rows = [
        (str(v.version), moment(v.saved_at), writer(v), "deleted" if v.is_deleted else "", v.change_reason or "")
        for v in found
    ]
    print_table(("version", "saved at", "by", "", "why"), rows)


@keys.command("rotate", short_help="Encrypt everything under the first key.")
@click.option("--dry-run", is_flag=True, help="Write nothing; tell how many would change.")
@as_json
@acts
def keys_rotate(dry_run: bool, as_json: bool) -> None:
    """Encrypt everything under the first key of SETTINGS_STORE_KEYS: all versions, and Redis.

    Put the new key first and keep the old ones behind it (in SETTINGS_STORE_KEYS, or in the key file: encryption.keys
    of the embedded servers); when this is done, take those away. May be interrupted and run again; writers go on.
    Exit code 1 if something couldn't be decrypted.

    \b
    Example:
      settings-store keys rotate --dry-run
    """
    _rotate(plain=False, dry_run=dry_run, as_json=as_json)


@keys.command("encrypt-existing", short_help="Encrypt what an older system left in plain text.")
@click.option("--dry-run", is_flag=True, help="Write nothing; tell how many would change.")
@as_json
@acts
def keys_encrypt_existing(dry_run: bool, as_json: bool) -> None:
    """Encrypt credentials that an older system left in plain text in okx_api_info: all versions, and Redis.

    May be interrupted and run again. Exit code 1 if plain text remains.

    \b
    Example:
      settings-store keys encrypt-existing --dry-run
    """
    _rotate(plain=True, dry_run=dry_run, as_json=as_json)
    if not dry_run:
        say(
            "Dead rows, the write-ahead log, Redis's files and old backups may hold plain text still: run"
            " VACUUM FULL okx_api_info and BGREWRITEAOF, and delete those backups. Better, change the keys.",
            err=True,
        )


@keys.command("generate")
def keys_generate() -> None:
    """Make a new encryption key: 32 random bytes in base64. Whoever has it can read the credentials: keep it safe.

    \b
    Example:
      export SETTINGS_STORE_KEYS="$(settings-store keys generate)"
    """
    from store.encryption.vault import generate_key

    say(generate_key())


def mask(value: str) -> str:
    """Show that there is something, and the end of what is long enough."""
    from store.models import MASK

    return MASK + (value[-4:] if len(value) >= 20 else "")


def _rotate(*, plain: bool, dry_run: bool, as_json: bool) -> None:
    from store.encryption import rotation

    async def work(store: SettingsStore) -> tuple[Rotation, int]:
        with counting("encrypt", "versions") as count:
            done = await rotation.rotate(store, plain=plain, dry_run=dry_run, progress=count)
        return done, await rotation.seal_table(store) if plain and not dry_run else 0

    done, remaining = run(work)
    if as_json:
        print_json({"dry_run": dry_run, **asdict(done)})
    else:
        would = "would be " if dry_run else ""
        say(f"{counted(done.checked, 'version')}, {done.changed} {would}encrypted under the current key")
        for okx_uid, why in done.failures.items():
            say(f"  {okx_uid}: {why}", err=True)
        if not done.mirrored:
            say("Redis will get it from the relay", err=True)
    if done.failures or remaining:
        sys.exit(1)


def _print_saved(saved: SavedCredentials, as_json: bool) -> None:
    if as_json:
        print_json(saved)
        return
    what = " is a deletion" if saved.is_deleted else ""
    where = "in PostgreSQL and Redis" if saved.mirrored else "in PostgreSQL; Redis will follow by the relay"
    say(f"credentials: version {saved.version}{what}, {where}")
