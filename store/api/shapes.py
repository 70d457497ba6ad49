"""Makes of documents what get_as() is asked for: a pydantic model, a dataclass or a TypedDict.

A model reads a document itself. Of the other two the annotations do, here: pydantic, which could, is an extra, and
takes no typing.TypedDict before Python 3.12.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, MutableMapping, MutableSequence, Sequence
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from store.errors import InvalidArgument
from store.json_writer import shown_key

T = TypeVar("T")
Read = Callable[[Any], Any]

# As the catalogue calls what a document holds.
KINDS: dict[type, str] = {
    **{str: "string", bool: "boolean", int: "number", float: "number", Decimal: "number", NoneType: "null"},
    **{list: "array", dict: "object"},
}
PLAIN = (str, bool, int, float, Decimal, NoneType)
ARRAYS = (list, Sequence, MutableSequence)
OBJECTS = (dict, Mapping, MutableMapping)
WANTED = "what is read must be a pydantic model, a dataclass or a TypedDict"
WRAPPERS = (Annotated, Required, NotRequired)

# What a message of pydantic's may be made of, beside its own words: the model's, never the document's.
MODELS_OWN = {"ge", "gt", "le", "lt", "multiple_of", "expected", "min_length", "max_length", "pattern", "class_name"}


class Misfit(Exception):
    """A document isn't what was asked for. `problems`: path (tp.levels[2]; $: the whole) -> why, with no value."""

    def __init__(self, problem: str = "", problems: Mapping[str, str] | None = None) -> None:
        super().__init__("a misfit")
        self.problems = {"$": problem} if problems is None else dict(problems)

    def below(self, step: str) -> Misfit:
        """Return it as it is seen from where `step`, a key or [2], leads to it."""
        return Misfit(problems={_joined(step, path): why for path, why in self.problems.items()})


def _joined(step: str, path: str) -> str:
    return step if path == "$" else f"{step}{path}" if path.startswith("[") else f"{step}.{path}"


class _Field(NamedTuple):
    read: Read
    is_required: bool


def to_shape(document: Mapping[str, Any], shape: type[T]) -> T:
    """Make an object of a class of a document. Raises Misfit, and InvalidArgument if the class can't say what it takes.

    Keys that a dataclass doesn't name are left out; a TypedDict keeps them, a model does as it is configured.
    """
    if hasattr(shape, "model_validate"):
        return _to_model(document, shape)
    found: dict[str, Any] = dict(document) if is_typeddict(shape) else {}
    problems: dict[str, str] = {}
    for name, field in _fields(shape).items():  # type: ignore[arg-type]
        if name in document:
            try:
                found[name] = field.read(document[name])
            except Misfit as misfit:
                problems |= misfit.below(name).problems
        elif field.is_required:
            problems[name] = "is missing"
    if problems:
        raise Misfit(problems=problems)
    try:
        return shape(**found)
    except (TypeError, ValueError) as error:  # of its __post_init__
        refusal = f"{shape.__name__} refuses it: {type(error).__name__}"
    raise Misfit(refusal)  # out here, where what may quote the document isn't its context


def check_shape(shape: object) -> None:
    """Refuse what no document can be made of. Raises InvalidArgument."""
    if not isinstance(shape, type):
        raise InvalidArgument(f"{WANTED}, not of type {type(shape).__name__}")
    if not hasattr(shape, "model_validate"):
        _fields(shape)


def _to_model(document: Mapping[str, Any], shape: type[T]) -> T:
    from pydantic import ValidationError
    from pydantic_core.core_schema import ErrorType

    try:
        model: T = shape.model_validate(document)  # type: ignore[attr-defined]
        return model
    except ValidationError as error:
        problems = {}
        known = set(get_args(ErrorType)) - {"value_error", "assertion_error"}  # these have a validator's own words
        for each in error.errors(include_url=False, include_input=False):
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{shown_key(step)}" for step in each["loc"])
            is_told = each["type"] in known and each.get("ctx", {}).keys() <= MODELS_OWN
            problems[path.removeprefix(".") or "$"] = each["msg"] if is_told else f"is refused: {each['type']}"
    raise Misfit(problems=problems)  # out here, where what quotes the document isn't its context


@lru_cache(maxsize=256)
def _fields(shape: Hashable) -> dict[str, _Field]:
    """List what a dataclass or a TypedDict takes. Raises InvalidArgument."""
    assert isinstance(shape, type)
    try:
        hints = get_type_hints(shape, include_extras=True)
    except (NameError, AttributeError, TypeError) as error:
        raise InvalidArgument(f"the annotations of {shape.__name__} can't be read: {error}") from None
    if dataclasses.is_dataclass(shape):
        fields = [field for field in dataclasses.fields(shape) if field.init]
        required = {field.name: field.default is field.default_factory is dataclasses.MISSING for field in fields}
    elif is_typeddict(shape):
        # Where annotations are texts, Python takes NotRequired[…] for required.
        said = {name: get_origin(hint) for name, hint in hints.items()}
        total: frozenset[str] = shape.__required_keys__  # type: ignore[attr-defined]
        required = {name: said[name] is Required or (name in total and said[name] is not NotRequired) for name in hints}
    else:
        raise InvalidArgument(f"{WANTED}, not {shape.__name__}")
    return {name: _Field(_reader(hints[name], f"{shape.__name__}.{name}"), need) for name, need in required.items()}


def _reader(hint: Any, where: str) -> Read:
    """Return what reads a value as an annotation has it. Raises InvalidArgument, naming the field."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or hint is object:
        return lambda value: value
    if hint is None or (isinstance(hint, type) and hint in PLAIN):
        return _plain(NoneType if hint is None else hint)
    if origin in WRAPPERS:
        return _reader(arguments[0], where)
    for named in ("__supertype__", "__value__"):  # a NewType; what the statement `type` of Python 3.12 makes
        if hasattr(hint, named):
            return _reader(getattr(hint, named), where)
    if origin is Literal:
        return _one_of({(type(choice), choice): choice for choice in arguments})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _one_of({(type(choice.value), choice.value): choice for choice in hint})
    if origin in (Union, UnionType):
        others = [_reader(argument, where) for argument in arguments if argument is not NoneType]
        return _any_of(others, is_nullable=NoneType in arguments)
    if (origin or hint) in ARRAYS:
        return _array(_reader(arguments[0] if arguments else Any, where))
    if (origin or hint) in OBJECTS:
        return _object(_reader(arguments[1] if arguments else Any, where))
    if hasattr(hint, "model_validate") or dataclasses.is_dataclass(hint) or is_typeddict(hint):
        return _inner(hint)
    raise InvalidArgument(f"{where} is annotated as what no document holds: {hint!r}")


def _plain(wanted: type) -> Read:
    def read(value: Any) -> Any:
        if type(value) is wanted:
            return value
        is_number = type(value) in (int, float)
        if wanted is int and is_number:
            if not value.is_integer():
                raise Misfit("must be a whole number")
            return int(value)
        if wanted in (float, Decimal) and is_number:
            try:
                return wanted(value if wanted is float else str(value))
            except OverflowError:
                raise Misfit("must not be a number outside the range of a double") from None
        raise _other(KINDS[wanted], value)

    return read


def _one_of(choices: dict[tuple[type, Any], Any]) -> Read:
    words = ", ".join("null" if choice is None else str(choice) for _, choice in choices)

    def read(value: Any) -> Any:
        if isinstance(value, list | dict) or (type(value), value) not in choices:
            raise Misfit(f"must be one of: {words}")
        return choices[type(value), value]

    return read


def _any_of(readers: Sequence[Read], is_nullable: bool) -> Read:
    """Read a value as the first does that can; else say what is wrong within it, or else with it, by each of them."""

    def read(value: Any) -> Any:
        if value is None and is_nullable:
            return None
        misfits = []
        for one in readers:
            try:
                return one(value)
            except Misfit as misfit:
                misfits.append(misfit)
        for found in misfits:
            if "$" not in found.problems:
                raise found
        raise Misfit(", or ".join(dict.fromkeys(found.problems["$"] for found in misfits)))

    return read


def _array(item: Read) -> Read:
    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _other("array", value)
        found = []
        for place, member in enumerate(value):
            try:
                found.append(item(member))
            except Misfit as misfit:
                raise misfit.below(f"[{place}]") from None
        return found

    return read


def _object(member: Read) -> Read:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _other("object", value)
        found = {}
        for key, inner in value.items():
            try:
                found[key] = member(inner)
            except Misfit as misfit:
                raise misfit.below(shown_key(key)) from None
        return found

    return read


def _inner(shape: Any) -> Read:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _other("object", value)
        return to_shape(value, shape)

    return read


def _other(wanted: str, value: object) -> Misfit:
    return Misfit(f"must be of type {wanted}, not {KINDS.get(type(value), type(value).__name__)}")
