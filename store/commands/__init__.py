"""The commands of the command line; main.py puts them together."""
