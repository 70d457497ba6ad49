"""How text that others wrote is shown: in one line, with nothing that steers a terminal or turns its direction."""

from __future__ import annotations

from unicodedata import category


def shown(text: str) -> str:
    """Escape what isn't printable: control characters, line ends, marks of direction, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(sign if _is_harmless(sign) else sign.encode("unicode_escape").decode() for sign in text)


def shown_json(text: str) -> str:
    """The same of JSON, which stays JSON: its line ends are its own, and what is escaped is in one of its strings."""
    return "\n".join(
        line if line.isprintable() else "".join(sign if _is_harmless(sign) else _json_escape(sign) for sign in line)
        for line in text.split("\n")
    )


def _is_harmless(sign: str) -> bool:
    return sign.isprintable() or category(sign) == "Zs"


def _json_escape(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
