"""What each value of the configuration may be, in words: for `--help`, the docs and error lines."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from mnist_gpu.paths import shipped

PATTERNS = {
    r"^[A-Za-z0-9_.+-]{1,64}$": "letters, digits and _ . + - only, at most 64",
    r"^\d{4}-\d\d-\d\d$": "a date such as 2026-01-31",
}
PLAIN = {
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "null": "null",
}


@cache
def _json_schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def field_schema(model: type[BaseModel], path: Sequence[int | str]) -> dict[str, Any]:
    """The JSON Schema of what stands at `path` in `model`; empty where nothing may stand there."""
    schema = _json_schema(model)
    for part in path:
        mapping = _mapping(schema, model)
        others = mapping.get("patternProperties", {}).values()
        rest = next(iter(others), mapping.get("additionalProperties"))
        found = mapping.get("properties", {}).get(part) or rest
        if not isinstance(found, dict):
            return {}
        schema = found
    return _resolved(schema, model)


def keys_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys that may stand beneath `path`."""
    return list(_mapping(field_schema(model, path), model).get("properties", {}))


def allowed(schema: dict[str, Any]) -> str:
    """In words what a value of this schema is."""
    if "anyOf" in schema:
        words = [allowed(entry) for entry in schema["anyOf"]]
        return " or ".join(dict.fromkeys(words))
    if "enum" in schema:
        return f"choose from {', '.join(map(str, schema['enum']))}"
    kind = schema.get("type", "object" if "$ref" in schema else "")
    if kind in ("integer", "number"):
        return _number(schema, "a whole number" if kind == "integer" else "a number")
    if kind == "object" or not kind:
        keys = ", ".join(schema.get("properties", ()))
        return f"a mapping of {keys}" if keys else "a mapping"
    return PATTERNS.get(schema.get("pattern", ""), PLAIN[kind])


def shown(value: Any) -> str:
    """A value as one would write it, not too long."""
    written = {None: "null", True: "true", False: "false"}
    is_word = value is None or isinstance(value, bool)
    text = written[value] if is_word else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def lines(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, what it may be, what it means) of every value of `model`, groups' own values after
    it."""
    groups: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        types = [field.annotation, *get_args(field.annotation)]
        inner = [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            groups.append((name, inner[0]))
            continue
        yield f"{above}{name}", allowed(field_schema(model, [name])), field.description or ""
    for name, group in groups:
        yield from lines(group, f"{above}{name}.")


def help_text() -> str:
    """The top-level values for `--help`, a line each."""
    from mnist_gpu.config.settings import Settings

    defaults = shipped("train")
    values = [
        (f"{name}={shown(defaults[name])}", may_be, meaning)
        for name, may_be, meaning in lines(Settings)
        if name in defaults
    ]
    return "\n".join(f"  {value:<19} {meaning} ({may_be})" for value, may_be, meaning in values)


def markdown() -> str:
    """The table of docs/configuration.md."""
    from mnist_gpu.config.settings import Settings

    rows = [f"| `{name}` | {may_be} | {meaning} |" for name, may_be, meaning in lines(Settings)]
    return "\n".join(["| value | may be | means |", "|---|---|---|", *rows]) + "\n"


def _number(schema: dict[str, Any], word: str) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    if above is not None:
        return f"{word} above {above}" + (f", at most {most}" if most is not None else "")
    if least is not None:
        return f"{word} from {least}" + (f" to {most}" if most is not None else "")
    return word


def _resolved(schema: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    reference = schema.get("$ref", "").rpartition("/")[2]
    return _json_schema(model)["$defs"][reference] if reference else schema


def _mapping(schema: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The one of a schema's alternatives that is a mapping."""
    schema = _resolved(schema, model)
    every = [_resolved(entry, model) for entry in schema.get("anyOf", [schema])]
    return next((entry for entry in every if entry.get("type") == "object"), {})
