"""The command that prints what a shell needs to complete words."""

from __future__ import annotations

import click

from store.commands.output import print_text


@click.command(short_help="Print what a shell needs to complete words.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands, options and setting types.

    \b
    Put one of these into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish:
      eval "$(settings-store completion bash)"
      eval "$(settings-store completion zsh)"
      settings-store completion fish | source

    \b
    Example:
      eval "$(settings-store completion bash)"
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    name = "settings-store"
    print_text(made(ctx.find_root().command, {}, name, "_SETTINGS_STORE_COMPLETE").source())
