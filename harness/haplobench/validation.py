"""Validation errors in words: which key, what was found, what was expected, near names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from haplobench.marked_yaml import Key


def near_names(name: str, names: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing where no name is near."""
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(near)}?" if near else ""


def structural_problems(value: object, model: type[BaseModel]) -> list[tuple[Key, str]]:
    """Key and message of everything in a value that a model refuses."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return explain(error, model)
    return []


def explain(error: ValidationError, model: type[BaseModel]) -> list[tuple[Key, str]]:
    """Key and message of each error, in words: what was found, what was expected, near names."""
    found: dict[Key, str] = {}
    for item in error.errors(include_url=False):
        key = tuple(part for part in item["loc"] if not _is_branch(part))
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, key[:-1])
            near = near_names(str(key[-1]), known)
            message = f"unknown key{near}" if near else f"unknown key; known: {', '.join(known)}"
        elif item["type"] == "missing":
            message = "missing, but required"
        elif item["type"] == "value_error":
            message = item["msg"].removeprefix("Value error, ")
        else:
            text = item["msg"].replace("Input should be", "expected")
            message = f"{text[0].lower()}{text[1:]}, found {_short(item['input'])}"
        # Of the branches of a union, the first says enough.
        found.setdefault(key, message)
    return list(found.items())


def _is_branch(part: str | int) -> bool:
    """Whether a part of pydantic's location names a type of a union rather than a key."""
    return isinstance(part, str) and bool(
        re.fullmatch(
            r"(int|float|str|bool|none|literal|list|dict|tuple|function-.*)(\[.*\])?", part
        )
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields_at(model: type[BaseModel], key: Key) -> list[str]:
    for part in key:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _models_in(field.annotation) if field else []
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
