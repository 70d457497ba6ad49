"""--log-format: errors and notes of every command as JSON, a line each."""

from __future__ import annotations

from typing import Any

import click

from store.commands.common import Commands

FORMAT = f"{__name__}.format"  # where the click context keeps it


def _choose(ctx: click.Context, param: click.Parameter, value: str) -> None:
    ctx.meta[FORMAT] = value
    if value == "json":
        configure_logs()


log_format = click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", envvar="SETTINGS_STORE_LOG_FORMAT",
    expose_value=False, callback=_choose, show_envvar=True,
    help="How stderr is written: lines for people, or a JSON object a line.",
)  # fmt: skip


def configure_logs(*, talkative: bool = False) -> None:
    """Write logs in the format that was chosen: warnings and worse, or what a service tells of itself, too."""
    import logging

    from store.operations import logs

    chosen = click.get_current_context().meta.get(FORMAT, "text")
    logs.configure(chosen, logging.INFO if talkative else logging.WARNING)


class LoggedCommands(Commands):
    """Commands whose errors go into the log where that is JSON."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            if ctx.meta.get(FORMAT) != "json":
                raise
            import logging

            details = getattr(error, "details", [])
            logging.getLogger("settings-store").error("%s", error.format_message(), extra={"details": details})
            raise click.exceptions.Exit(error.exit_code) from None
