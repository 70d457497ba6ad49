"""The door to the command line in a checkout: python cli.py --help. Installed, it is the program settings-store."""

from __future__ import annotations

from store.commands.main import main

if __name__ == "__main__":
    main()
