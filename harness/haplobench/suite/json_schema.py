"""JSON Schema of suites, for completion and checking in editors.

What a suite may say depends on what is installed: parameters are checked by the plugin's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from haplobench.registry import Registry
from haplobench.suite.schema import SuiteFile
from haplobench.suite.values import MOST_HAPLOTYPES

_DIALECT = "http://json-schema.org/draft-07/schema#"  # which YAML language servers speak
_SECTIONS = {"datasets": "DatasetItem", "generators": "GeneratorItem", "metrics": "MetricItem"}
# What the loader takes as text beside the types of the models.
_QUANTITIES = {
    "time": "a duration: 90s, 10m, 1h30m, or seconds",
    "memory": "a size: 4GiB, 500MB, or bytes",
}


class _Input(GenerateJsonSchema):
    """The schema of what is written, with `$ref`s into draft 7's `definitions`."""

    schema_dialect = _DIALECT


def suite_json_schema(registry: Registry) -> dict[str, Any]:
    """The JSON Schema (draft 7) of a suite file, with the parameters of every known plugin."""
    schema = _schema_of(SuiteFile)
    definitions: dict[str, Any] = schema.setdefault("definitions", {})
    for section, item in _SECTIONS.items():
        specs: Mapping[str, Any] = dict(sorted(getattr(registry, section).items()))
        extra = ["all"] if section == "metrics" else []
        _name_plugins(definitions, item, specs, extra)
        named = {"type": "string", "enum": [*extra, *specs]}
        entry = {"anyOf": [named, {"$ref": f"#/definitions/{item}"}]}
        items: dict[str, Any] = {"type": "array", "items": entry}
        forms: list[dict[str, Any]] = [items]
        if section == "datasets":
            items["minItems"] = 1
        else:
            forms.append({"type": "null"})
        if section == "metrics":
            forms.append(named)
        described = schema["properties"][section].get("description", "")
        schema["properties"][section] = {"anyOf": forms} | (
            {"description": described} if described else {}
        )
    _loosen(schema)
    # Names come from elsewhere where a profile changes parts of lists: those stay unchecked.
    whole = ("title", "seeds", "metrics", "threads")
    schema["properties"]["profiles"] = {
        "type": "object",
        "description": "Changes by name, laid over the suite by `profile` or --set profile=NAME.",
        "additionalProperties": {
            "type": "object",
            "properties": {
                key: schema["properties"][key] if key in whole else {}
                for key in schema["properties"]
                if key not in ("profile", "profiles", "name")
            },
            "additionalProperties": False,
        },
    }
    return {"$schema": _DIALECT, **schema, "title": "haplobench suite"}


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(
        ref_template="#/definitions/{model}", schema_generator=_Input, mode="validation"
    )
    if "$defs" in schema:
        schema["definitions"] = schema.pop("$defs")
    return schema


def _name_plugins(
    definitions: dict[str, Any], item: str, specs: Mapping[str, Any], extra: list[str]
) -> None:
    """An item's `name` is one of those known, and its `params` those of that plugin."""
    definition = definitions[item]
    definition["properties"]["name"] = {
        "description": "See `bench list`.",
        "anyOf": [
            {"const": name, "description": getattr(specs.get(name), "summary", "All there are.")}
            for name in (*extra, *specs)
        ],
    }
    definition["allOf"] = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": _params(definitions, item, name, spec),
        }
        for name, spec in specs.items()
    ]


def _params(definitions: dict[str, Any], item: str, name: str, spec: Any) -> dict[str, Any]:
    schema = _schema_of(spec.params)
    # Two plugins may call different models by one name.
    prefix = f"{item.removesuffix('Item')} {name} "
    inner = schema.pop("definitions", {})
    renamed = {f"#/definitions/{key}": f"#/definitions/{prefix}{key}" for key in inner}
    definitions.update(
        {prefix + key: _numbers_as_text(_rename(value, renamed)) for key, value in inner.items()}
    )
    schema.pop("title", None)
    required = {"required": ["params"]} if schema.get("required") else {}
    params = _numbers_as_text(_rename(schema, renamed))
    return {"properties": {"params": params}, **required}


def _numbers_as_text(value: Any) -> Any:
    """Take a number where a text is asked for, as `Params` does: YAML reads `contig: 22` so."""
    if isinstance(value, list):
        return [_numbers_as_text(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _numbers_as_text(item) for key, item in value.items()}
    if made.get("type") == "string" and not {"enum", "const"} & made.keys():
        made["type"] = ["string", "number"]
    return made


def _rename(value: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: renamed.get(item, item) if key == "$ref" else _rename(item, renamed)
            for key, item in value.items()
        }
    return [_rename(item, renamed) for item in value] if isinstance(value, list) else value


def _loosen(schema: dict[str, Any]) -> None:
    """State what validators of the models check: durations, sizes, `holdout`, distinct seeds."""
    schema["properties"]["seeds"] |= {"minItems": 1, "uniqueItems": True}
    for form in schema["definitions"]["GeneratorItem"]["properties"]["seeds"]["anyOf"]:
        if form.get("type") == "array":
            form |= {"minItems": 1, "uniqueItems": True}
    for definition in ("Limits", "GeneratorLimits"):
        for key, described in _QUANTITIES.items():
            quantity = schema["definitions"][definition]["properties"][key]
            default = {"default": quantity["default"]} if "default" in quantity else {}
            forms = ["string", "number", *(["null"] if definition != "Limits" else [])]
            schema["definitions"][definition]["properties"][key] = {
                "type": forms,
                "description": described,
                **default,
            }
    schema["definitions"]["DatasetItem"]["properties"]["contigs"] = {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
        ],
        "description": "Names of a genome's contigs, or ranges of them: [1..22, X].",
    }
    schema["definitions"]["SampleSettings"]["properties"]["haplotypes"] = {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": MOST_HAPLOTYPES},
            {"const": "holdout"},
        ],
        "default": "holdout",
        "description": "How many haplotypes to sample, or as many as are held out.",
    }
