"""What each value of the configuration may be, in words: for `--help`, the docs and error lines."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel

from mnist_gpu.paths import packaged, shipped


@cache
def _json_schema(model: type[BaseModel]) -> Any:
    """The JSON Schema of `model`, each reference replaced by what it stands for."""
    schema = model.model_json_schema()

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(entry) for entry in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolved(schema["$defs"][node["$ref"].rpartition("/")[2]])
        return {key: resolved(value) for key, value in node.items() if key != "$defs"}

    return resolved(schema)


def field_schema(model: type[BaseModel], path: Sequence[int | str]) -> dict[str, Any]:
    """The JSON Schema of what stands at `path` in `model`; empty where nothing may stand there."""
    schema = _json_schema(model)
    for part in path:
        mapping = _mapping(schema)
        others = mapping.get("patternProperties", {}).values()
        rest = next(iter(others), mapping.get("additionalProperties"))
        schema = mapping.get("properties", {}).get(part) or rest
        if not isinstance(schema, dict):
            return {}
    return dict(schema)


def keys_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys that may stand beneath `path`."""
    return list(_mapping(field_schema(model, path)).get("properties", {}))


def _mapping(schema: dict[str, Any]) -> dict[str, Any]:
    """The one of a schema's alternatives that is a mapping."""
    # a group that may be null is a choice of two
    every = schema.get("anyOf", [schema])
    return next((entry for entry in every if entry.get("type") == "object"), {})


def allowed(schema: dict[str, Any]) -> str:
    """In words what a value of this schema is."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(allowed(entry) for entry in schema["anyOf"]))
    if "enum" in schema:
        return f"choose from {', '.join(map(str, schema['enum']))}"
    kind = schema.get("type", "object")
    if kind == "object":
        keys = ", ".join(schema.get("properties", ()))
        return f"a mapping of {keys}" if keys else "a mapping"
    words = packaged("config/words")
    word = words["patterns"].get(schema.get("pattern"), words["types"][kind])
    most = schema.get("maximum")
    if "exclusiveMinimum" in schema:
        return f"{word} above {schema['exclusiveMinimum']}" + (f", at most {most}" if most else "")
    if "minimum" in schema:
        return f"{word} from {schema['minimum']}" + (f" to {most}" if most else "")
    return word


def shown(value: Any) -> str:
    """A value as one would write it, not too long."""
    text = {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def lines(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """(key, what it may be, what it means) of every value of `model`, groups' own values last."""
    keys = keys_at(model, path)
    groups = [key for key in keys if keys_at(model, (*path, key))]
    for key in keys:
        schema = field_schema(model, (*path, key))
        if key not in groups:
            yield ".".join((*path, key)), allowed(schema), schema.get("description", "")
    for key in groups:
        yield from lines(model, (*path, key))


def help_text(model: type[BaseModel]) -> str:
    """The top-level values for `--help`, a line each."""
    defaults = shipped("train")
    values = [
        (f"{name}={shown(defaults[name])}", may_be, meaning)
        for name, may_be, meaning in lines(model)
        if name in defaults
    ]
    return "\n".join(f"  {value:<19} {meaning} ({may_be})" for value, may_be, meaning in values)
