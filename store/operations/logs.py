"""How stderr is written: lines for people, or a JSON object a line."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from store.shown import shown

PASSWORD = re.compile(r"(\w://[^\s/@:]*:)[^\s/]+(?=@)|(\bpassword=)\S+")  # of a URL, of a connection string


def configure(form: str, level: int = logging.WARNING) -> None:
    """Write what is logged to stderr from now on, as `text` or `json`; as JSON also warnings, whatever else is printed
    there, and an error that nobody caught."""
    if form != "json":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Lines("%(asctime)s %(levelname)s %(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr.stream if isinstance(sys.stderr, Printed) else sys.stderr)
        handler.setFormatter(JsonLines())
        sys.stderr = Printed(handler)
        sys.excepthook = lambda kind, error, trace: logging.getLogger("store").critical(
            "stopped by an error that nobody caught", exc_info=(kind, error, trace)
        )
        logging.captureWarnings(True)
        logging.raiseExceptions = False  # a stderr that is gone: there is nowhere to say so
    logging.basicConfig(handlers=[handler], level=level, force=True)


class Lines(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        return without_passwords(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = shown(record.message)
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """An object a line: time (UTC), level, logger, message; exception and details where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, str | list[str]] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_passwords(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = without_passwords(self.formatException(record.exc_info))
        if details := getattr(record, "details", None):
            entry["details"] = [without_passwords(line) for line in details]
        return json.dumps(entry)  # in ASCII, whatever stderr is


class Printed(io.TextIOBase):
    """A stderr that makes an object of each line printed to it. As it is no terminal, nobody draws a progress bar."""

    encoding = "utf-8"  # click replaces a stream that names none
    errors = "backslashreplace"

    def __init__(self, handler: logging.StreamHandler[Any]) -> None:
        self.stream = handler.stream
        self._handler = handler
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(str.strip, lines):
            self._handler.emit(
                logging.makeLogRecord({"name": "settings-store", "levelname": "INFO", "msg": line.strip()})
            )
        return len(text)


def without_passwords(text: str) -> str:
    """Mask passwords in connection strings: a driver's error may quote one."""
    return PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", text)
