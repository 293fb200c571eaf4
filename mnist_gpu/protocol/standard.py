"""What the standard run is, and in which ways a run deviates from it.

`deviating` is asked of a configuration before a run and of a record after it, so that both mean the
same by a standard run.
"""

import json
from collections.abc import Mapping
from typing import Any

from mnist_gpu.paths import packaged

PROTOCOL_VERSION = 1


def protocol(version: int = PROTOCOL_VERSION) -> dict[str, Any]:
    """What `protocol/versions.yaml` says of one version."""
    return packaged("protocol/versions")[version]


def deviating(facts: Mapping[str, Any], version: int = PROTOCOL_VERSION) -> dict[str, str]:
    """Each way in which a run is not the standard one: word -> sentence for people.

    `facts` are what is known of the run, by the words of `standard` in versions.yaml, with
    `precision`, `n_parameters` and `flops_per_sample`; what is not known is not judged.
    """
    rules = protocol(version)
    found = {
        word: f"{word} {shown(facts[word])} (standard: {shown(value)})"
        for word, value in rules["standard"].items()
        if word in facts and facts[word] != value
    }
    # a name says nothing of the layers under it
    if any(facts.get(name, value) != value for name, value in rules["network"].items()):
        found.setdefault("model", f"model {facts.get('model')} (standard: another of that name)")
    if (precision := facts.get("precision", "float32")) not in rules["precisions"]:
        allowed = ", ".join(rules["precisions"])
        found["precision"] = f"precision {precision} (allowed: {allowed})"
    return found


def shown(value: Any) -> str:
    """As YAML writes it: true, false, null."""
    return json.dumps(value) if isinstance(value, (bool, type(None))) else str(value)
