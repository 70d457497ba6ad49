"""The commands of templates: save, list, show, delete, preview, apply."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from store.api.catalogue import masked
from store.commands.common import as_json, named, of_symbol, run, setting_type, some_type, who
from store.commands.listing import JsonList, Printer, Table, print_list
from store.commands.output import (
    counted,
    moment,
    parse_object,
    parse_pairs,
    plain,
    print_changes,
    print_json,
    print_setting_values,
    print_styled,
    say,
    writer,
)
from store.commands.streams import acts

if TYPE_CHECKING:
    from store.api.store import SettingsStore
    from store.models import Template, TemplateEffect

name = click.argument("name")
owner = click.option("--user", "owner", metavar="IDENTIFIER", help="Of a user's own templates; else of everybody's.")


@click.group()
def template() -> None:
    """Keep named documents, and apply them to many users. The template `default` is the catalogue's defaults.

    \b
    Example:
      settings-store template save careful params leverage=3 use_sl=true
      settings-store template preview careful params --where leverage=20
    """


@template.command("save")
@name
@setting_type
@click.argument("pairs", metavar="KEY=VALUE…", nargs=-1)
@click.option("--file", "file", type=click.File("rb"), help="Read a JSON object from a file (-: standard input).")
@click.option("--from", "source", metavar="IDENTIFIER", help="Take a user's active settings, but for the secrets.")
@of_symbol
@owner
@who
@as_json
def template_save(
    name: str, setting_type: str, pairs: Sequence[str], file: Any, source: str | None, symbol: str | None,
    owner: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Save a template for a TYPE, in place of an earlier one. It may hold some keys only.

    With --user a preset: of that user, applied to nobody else, and erased with the person.

    \b
    Example:
      settings-store template save careful params leverage=3 use_sl=true
      settings-store template save vip params --from 587662504768345929
      settings-store template save night dual_side use_dual_sl=true --user 587662504768345929
    """
    if (len(pairs) > 0) + (file is not None) + (source is not None) != 1:
        raise click.UsageError("Give one of these: KEY=VALUE pairs, --file, --from.")
    if symbol is not None and source is None:
        raise click.UsageError("--symbol goes with --from: a template is of a TYPE.")
    document = parse_object(file.read()) if file else parse_pairs(pairs)

    async def write(store: SettingsStore) -> Template:
        if source is None:
            return await masked(store, await store.save_template(name, setting_type, document, owner=owner))
        return await store.save_template_from(name, setting_type, source, symbol=symbol, owner=owner)

    saved = run(write)
    if as_json:
        print_json(saved)
    else:
        say(f"saved template {saved.name} for {saved.setting_type}, {counted(len(saved.settings), 'key')}")


@template.command("list")
@owner
@as_json
def template_list(owner: str | None, as_json: bool) -> None:
    """List the templates: everybody's, or a user's own.

    \b
    Example:
      settings-store template list
    """

    def to_json(one: Template) -> dict[str, Any]:
        return {key: value for key, value in plain(one).items() if key != "settings"}

    def to_row(one: Template) -> tuple[str, ...]:
        saved_at = moment(one.updated_at) if one.updated_at else ""
        return one.name, one.setting_type, str(len(one.settings)), writer(one), saved_at

    columns = ("name", "type", "keys", "saved by", "saved at")
    printer: Printer[Template] = JsonList(to_json) if as_json else Table(columns, to_row)
    run(lambda store: print_list(store.iter_templates(owner=owner), printer))


@template.command("show")
@name
@some_type
@owner
@click.option("--reveal", is_flag=True, help="Show secrets (signal_bot_token), too.")
@as_json
def template_show(name: str, setting_type: str | None, owner: str | None, reveal: bool, as_json: bool) -> None:
    """Show a template, for one TYPE or for all it has. Exit code 1 if there is none.

    \b
    Example:
      settings-store template show default params
    """

    async def read(store: SettingsStore) -> list[Template]:
        listed = await store.list_templates(name, owner=owner)
        found = [one for one in listed if setting_type in (None, one.setting_type)]
        return found if reveal else [await masked(store, one) for one in found]

    found = run(read)
    if not found:
        raise click.ClickException(f"no template {name}" + (f" for {setting_type}" if setting_type else ""))
    if as_json:
        print_json(found)
        return
    for one in found:
        say(f"{one.name} for {one.setting_type}")
        print_setting_values(one.settings)


@template.command("delete")
@name
@some_type
@owner
@as_json
@acts
def template_delete(name: str, setting_type: str | None, owner: str | None, as_json: bool) -> None:
    """Delete a template, for one TYPE or for all. Users it was applied to keep what they have.

    \b
    Example:
      settings-store template delete careful
    """
    count = run(lambda store: store.delete_template(name, setting_type, owner=owner))
    if as_json:
        print_json({"name": name, "deleted": count})
    else:
        say(f"deleted template {name} ({counted(count, 'setting type')})")


def _whom(command: Any) -> Any:
    """Add the arguments that say to whom a template is applied, and how."""
    for decorate in (
        click.option("--replace", is_flag=True, help="The template becomes the document; else its keys replace."),
        click.option("--all", "everybody", is_flag=True, help="Everybody who has such settings."),
        click.option("--where", "pairs", metavar="KEY=VALUE", multiple=True,
                     help="Everybody whose settings hold this value; may be repeated."),
        of_symbol,
        owner,
        click.argument("identifiers", metavar="[IDENTIFIER]…", nargs=-1),
        setting_type,
        name,
    ):  # fmt: skip
        command = decorate(command)
    return command


@template.command("preview")
@_whom
@as_json
def template_preview(
    name: str, setting_type: str, identifiers: Sequence[str], owner: str | None, symbol: str | None,
    pairs: Sequence[str], everybody: bool, replace: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show whose settings a template would change, and how. Writes nothing.

    \b
    Example:
      settings-store template preview careful params --where leverage=20 --where use_sl=false
    """
    _apply(name, setting_type, identifiers, owner, symbol, pairs, everybody, replace, True, as_json)


@template.command("apply", short_help="Apply a template to users.")
@_whom
@who
@as_json
def template_apply(
    name: str, setting_type: str, identifiers: Sequence[str], owner: str | None, symbol: str | None,
    pairs: Sequence[str], everybody: bool, replace: bool, as_json: bool,
) -> None:  # fmt: skip
    """Apply a template to these users, or to all that --where finds: all or none.

    Its keys replace those of each document, other keys stay; with --replace it becomes the document. Exit code 1 if
    there is nobody to apply it to. See `preview`.

    \b
    Example:
      settings-store template apply careful params 587662504768345929 1709556958
      settings-store template apply careful params --where leverage=20 --reason "less risk for all"
      settings-store template apply night dual_side --user 587662504768345929 --symbol BTC-USDT-SWAP
    """
    _apply(name, setting_type, identifiers, owner, symbol, pairs, everybody, replace, False, as_json)


def _apply(
    name: str, setting_type: str, identifiers: Sequence[str], owner: str | None, symbol: str | None,
    pairs: Sequence[str], everybody: bool, replace: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    if (len(identifiers) > 0) + (len(pairs) > 0) + everybody + (owner is not None) != 1:
        raise click.UsageError("Give one of these: IDENTIFIERs, --where, --all, --user.")

    counts: Counter[str] = Counter()
    listed: JsonList[TemplateEffect] = JsonList()

    def tell(effect: TemplateEffect) -> None:
        counts["all"] += 1
        counts["changed"] += bool(effect.changes)
        counts["incomplete"] += bool(effect.missing_keys)
        if as_json:
            listed.add(effect)
        elif dry_run and effect.changes:
            print_styled(f"{effect.okx_uid} {effect.setting_type} version {effect.version}", "bold")
            print_changes(effect.changes)

    async def work(store: SettingsStore) -> None:
        await store.apply_template(
            name, setting_type, identifiers=identifiers or None,
            filter=None if identifiers or owner else parse_pairs(pairs), replace=replace, dry_run=dry_run,
            symbol=symbol, owner=owner, tell=tell,
        )  # fmt: skip

    run(work)
    if as_json:
        listed.end()
    else:
        done, same = "would change" if dry_run else "changed", counts["all"] - counts["changed"]
        say(f"{counted(counts['changed'], 'user')} {done}, {same} have it so already")
        if counts["incomplete"]:
            say(f"{counted(counts['incomplete'], 'document')} without keys that the catalogue lists")
    if not counts["all"]:
        say(f"nobody has such {named(setting_type, symbol)}", err=True)
        sys.exit(1)
