"""What about this machine makes a run slow, wrong or impossible: `python -m mnist_gpu.doctor`."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from mnist_gpu.errors import UserError
from mnist_gpu.output import entry


@entry
def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; return 1 if a run would not work or not mean what it seems to."""
    options = _parse(arguments)
    asked = _asked(options.overrides)
    from mnist_gpu.checks import Machine, examine

    found = examine(Machine(asked["engine"], asked["platform"]), options.deep)
    if options.json:
        print(json.dumps({**asked, "findings": [asdict(finding) for finding in found]}, indent=2))
    else:
        from mnist_gpu.checks.finding import show

        show(found)
    # a warning is no reason for a script to stop
    return int(any(finding.status == "fail" for finding in found))


def _asked(overrides: Sequence[str]) -> dict[str, str]:
    """The engine and the platform that a run would be asked for."""
    from mnist_gpu.engines import names
    from mnist_gpu.paths import choices

    known = {"engine": names(), "platform": choices("platform")}
    asked = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"{override}: write overrides as engine=NAME or platform=NAME", 2)
        if key not in known:
            print(f"{override}: not looked at; only engine= and platform= are", file=sys.stderr)
        elif value not in known[key]:
            raise UserError(f"{key}={value}: choose from {', '.join(known[key])}")
        else:
            asked[key] = value
    platform = asked.get("platform", "auto")
    return {"engine": _engine_of(platform), "platform": platform, **asked}


def _engine_of(platform: str) -> str:
    """The engine that a run there has unless another is asked for."""
    from mnist_gpu.paths import shipped

    # without Hydra, which is slow to import
    chosen = [*shipped("train")["defaults"], *shipped(f"platform/{platform}").get("defaults", [])]
    groups = [pair for one in chosen if isinstance(one, dict) for pair in one.items()]
    engine = [name for key, name in groups if key.removeprefix("override /").startswith("engine")]
    return str(engine[-1])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mnist_gpu.doctor",
        description="Say what about this machine makes a run slow, wrong or impossible, and what"
        " to do about it. Changes nothing. Exit code 1: something has to be mended first.",
    )
    parser.add_argument("overrides", nargs="*", metavar="engine=NAME|platform=NAME")
    parser.add_argument("--deep", action="store_true", help="import the framework and compute")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
