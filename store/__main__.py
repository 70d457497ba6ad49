"""The command line, by `python -m store`."""

from store.commands.main import main

main(prog_name="settings-store")
