"""An end for a process that a server keeps from ending."""

from __future__ import annotations

import logging
import os
import threading


def end_within(seconds: float, code: int) -> None:
    """End the process by then if it hasn't ended. From a thread: a server that hangs may never let go of a driver, not
    even when it is cancelled, and nothing here is worse for being killed."""

    def end() -> None:
        logging.getLogger("store").error("ended amid its work: a server doesn't answer")
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
