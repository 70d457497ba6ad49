"""The commands of users: register, find, list, link, unlink, delete, restore, erase."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from store.api.catalogue import masked
from store.commands.common import Number, as_json, confirm, identifier, run, who
from store.commands.listing import JsonList, Printer, Table, print_list
from store.commands.output import counted, plain, print_json, print_saved, print_user, say
from store.commands.streams import acts

if TYPE_CHECKING:
    from store.api.store import SettingsStore
    from store.models import Registration, User


@click.command(short_help="Register a user with the default settings.")
@click.argument("okx_uid")
@click.option("--telegram-id", metavar="N", help="Telegram ID to link (5-15 digits).")
@click.option("--name", metavar="TEXT", help="Name of the user.")
@click.option("--telegram-username", metavar="TEXT", help="Telegram user name.")
@click.option("--template", metavar="NAME", default="default", show_default=True,
              help="Template whose keys replace those of the defaults.")  # fmt: skip
@who
@as_json
def register(
    okx_uid: str, telegram_id: str | None, name: str | None, telegram_username: str | None, template: str, as_json: bool
) -> None:
    """Register a user with the default settings; what is there already stays, and gets the defaults of keys that it
    lacks.

    \b
    Example:
      settings-store register 587662504768345929 --telegram-id 1709556958 --name Kim
    """

    async def write(store: SettingsStore) -> Registration:
        result = await store.register(
            okx_uid, telegram_id, name=name, telegram_username=telegram_username, template=template
        )
        return replace(result, settings=[await masked(store, setting) for setting in result.settings])

    result = run(write)
    if as_json:
        print_json(result)
        return
    telegram = f" (Telegram {result.user.telegram_id})" if result.user.telegram_id else ""
    say(f"{'registered' if result.is_new else 'registered already:'} {okx_uid}{telegram}")
    for saved in result.settings:
        print_saved(saved)


@click.group()
def user() -> None:
    """Find, list, link, delete, restore and erase users.

    \b
    Example:
      settings-store user find 1709556958
    """


@user.command("find")
@identifier
@as_json
def user_find(identifier: str, as_json: bool) -> None:
    """Show a user. Exit code 1 if nobody has the identifier.

    \b
    Example:
      settings-store user find 1709556958
    """
    found = run(lambda store: store.find_user(identifier))
    if found is None:
        raise click.ClickException(f"unknown user {identifier}")
    print_user(found, as_json)


@user.command("list")
@click.option("--after", metavar="OKX_UID", help="Start after this user.")
@click.option("--limit", type=Number(1), metavar="N", default=100, show_default=True, help="Users at most.")
@click.option("--deleted", is_flag=True, help="Those whom `user restore` would bring back, in place of the others.")
@as_json
def user_list(after: str | None, limit: int, deleted: bool, as_json: bool) -> None:
    """List users in the order of their OKX UIDs.

    \b
    Example:
      settings-store user list --limit 20
      settings-store user list --deleted
    """

    columns = ("okx_uid", "telegram_id", "name", "telegram_username") + (("deleted_at",) if deleted else ())

    def to_row(user: User) -> tuple[str, ...]:  # what an 80 column terminal holds; the rest is in the JSON
        return tuple(str(plain(getattr(user, column)) or "") for column in columns)

    printer: Printer[User] = JsonList() if as_json else Table(columns, to_row)
    count, last = run(lambda s: print_list(s.iter_users(deleted=deleted, after=after, limit=limit), printer))
    if last is not None and count == limit:
        say(f"more: --after {last.okx_uid}", err=True)


@user.command("link")
@identifier
@click.argument("telegram_id")
@who
@as_json
def user_link(identifier: str, telegram_id: str, as_json: bool) -> None:
    """Link a Telegram ID to a user, in place of the one linked before.

    \b
    Example:
      settings-store user link 587662504768345929 1709556958
    """
    print_user(run(lambda store: store.link(identifier, telegram_id)), as_json)


@user.command("unlink")
@identifier
@who
@as_json
def user_unlink(identifier: str, as_json: bool) -> None:
    """Take the Telegram ID from a user.

    \b
    Example:
      settings-store user unlink 587662504768345929
    """
    print_user(run(lambda store: store.unlink(identifier)), as_json)


@user.command("delete", short_help="Delete a user and the settings; the history stays.")
@identifier
@click.option("--yes", is_flag=True, help="Don't ask.")
@who
@as_json
def user_delete(identifier: str, yes: bool, as_json: bool) -> None:
    """Delete a user and the settings, from Redis too; the history stays in PostgreSQL.

    \b
    Example:
      settings-store user delete 587662504768345929 --yes
    """
    from store.api.base import check_identifier

    if not yes:
        confirm(f"Delete user {check_identifier(identifier)}?")
    deleted = run(lambda store: store.delete_user(identifier))
    if as_json:
        print_json(deleted)
    else:
        say(f"deleted {deleted.okx_uid}; back again: settings-store user restore {deleted.okx_uid}")


@user.command("restore", short_help="Bring a deleted user back, with the settings.")
@identifier
@who
@as_json
def user_restore(identifier: str, as_json: bool) -> None:
    """Bring a deleted user back, by OKX UID or UUID, with the settings deleted then.

    With the Telegram ID, too, unless somebody else has it by now.

    \b
    Example:
      settings-store user restore 587662504768345929
    """
    print_user(run(lambda store: store.restore_user(identifier)), as_json)


@user.command("erase", short_help="Remove everything of a person for good.")
@identifier
@click.option("--yes", is_flag=True, help="Don't ask.")
@as_json
@acts
def user_erase(identifier: str, yes: bool, as_json: bool) -> None:
    """Remove everything of a person from PostgreSQL and Redis, history included. IRREVOCABLE.

    A deleted user by OKX UID or UUID; by OKX UID or Telegram ID whom Redis alone knows (any more). A keyed digest
    remembers the erasure, so that no sync takes over what an old copy of Redis brings back, until somebody registers
    anew. For an hour Redis keeps which versions it had, without content, so that no write under way brings anything
    back. Backups, and the servers' own logs, may hold it longer.

    \b
    Example:
      settings-store user erase 587662504768345929 --yes
    """
    from store.api.base import check_identifier

    if not yes:
        confirm(f"Erase user {check_identifier(identifier)} with all history, for good?")
    receipt = run(lambda store: store.erase_user(identifier))
    if as_json:
        print_json(receipt)
        return
    redis = "cleared from Redis" if receipt.mirrored else "the relay will clear Redis"
    if not receipt.was_known:
        say(f"erased {receipt.okx_uid}, whom PostgreSQL didn't know (any more); {redis}")
        return
    say(
        f"erased {receipt.okx_uid}: {counted(receipt.settings, 'setting')} in {counted(receipt.versions, 'version')},"
        f" {counted(receipt.trades, 'trade')}, {counted(receipt.telegram_links, 'Telegram link')}; {redis}"
    )
