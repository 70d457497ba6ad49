"""Every option and argument that is a number takes plain digits within its limits, and nothing else that Python reads.

They are those of the click tree: a new one is covered as soon as it is there.
"""

from __future__ import annotations

import click

from store.arguments import MOST
from store.commands.common import Number
from tests.cli.conftest import Cli
from tests.cli.test_help import LEAVES
from tests.conftest import OKX_UID

NUMBERS = {
    (path, parameter.name): parameter
    for path, command in LEAVES.items()
    for parameter in command.params
    if isinstance(parameter.type, Number)
}
OF_CLICK = (click.types.IntParamType, click.types.FloatParamType)
NONE = [
    "nan", "inf", "-inf", "Infinity", "1e400", "1e3", "0x10", "1_0", "１", "٣", "", " 1", "1 ", "1,5", "--", "+1",
    "1\n", "9" * 400, "9" * 5000, str(MOST + 1),
]  # fmt: skip


def test_no_number_is_read_otherwise() -> None:
    others = [
        (path, parameter.name)
        for path, command in LEAVES.items()
        for parameter in command.params
        if isinstance(parameter.type, OF_CLICK) and not isinstance(parameter.type, Number)
    ]
    assert others == []
    assert len(NUMBERS) >= 18


def words(path: str, name: str, text: str) -> list[str]:
    """A command line that gives this text for a parameter, and something for the others that are needed."""
    given = []
    for parameter in LEAVES[path].params:
        if parameter.name == name:
            given.append(f"{parameter.opts[-1]}={text}" if isinstance(parameter, click.Option) else text)
        elif isinstance(parameter, click.Option):
            given += [f"{parameter.opts[-1]}=1"] if parameter.required else []
        elif parameter.nargs == 1:
            number = isinstance(parameter.type, Number)
            given.append("1" if number else OKX_UID if "identifier" in str(parameter.name) else "params")
    options = [word for word in given if word.startswith("--")]
    return [*path.split(), *options, "--", *(word for word in given if word not in options)]


def test_what_is_no_plain_number_is_a_usage_error(inside: Cli) -> None:
    for (path, name), parameter in NUMBERS.items():
        number = parameter.type
        assert isinstance(number, Number)
        assert number.min is not None
        outside = [number.min - 1, *([] if number.max is None else [number.max + 1])]
        for text in (*NONE, *map(str, outside), *(["1.5"] if number.is_whole else [])):
            result = inside.run(*words(path, str(name), text))
            assert (result.code, result.out) == (2, ""), (path, name, text, result)
            assert "Error: Invalid value for '" in result.err, (path, name, text, result)
            assert len(result.err) < 400 + len(text)


def test_a_number_may_have_a_fraction_where_it_is_of_seconds() -> None:
    number = Number(0.001, 60, is_whole=False)
    assert [number.convert(text, None, None) for text in ("0.02", ".5", "5.", "60")] == [0.02, 0.5, 5.0, 60.0]
    assert Number(0).convert("007", None, None) == 7
