"""`scripts/bench`: one command, one table.

Without another choice: milliseconds a step of every engine and division, beside the frameworks' own
code alone.
"""

import argparse
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    """Measure, print, and put the table where it was asked for."""
    options = _parser().parse_args()
    from mnist_gpu.bench.tables import publish

    kinds = _kinds(options)
    # the name is that of the table's markers in a document
    chosen = next((kind for kind in kinds if getattr(options, kind, None)), "bench")
    publish("scripts/bench", options.doc, {chosen: kinds[chosen]})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    add = what.add_argument
    add("--switches", action="store_true", help="what each switch brings on this machine")
    add("--module", metavar="PATH.PY:CLASS", help="the same for a LightningModule of your own")
    add("--overhead", action="store_true", help="engines beside their frameworks alone, in pairs")
    add("--where", action="store_true", help="where the time of a stock step goes")
    add("--memory", action="store_true", help="the most memory that each engine holds (cnn)")
    add("--startup", action="store_true", help="from the command to the first step")
    add("--accuracy", type=int, metavar="EPOCHS", help="test accuracy beside a plain loop's")
    parser.add_argument("--models", default="cnn,mlp", help="default: %(default)s")
    parser.add_argument(
        "--variants",
        default="",
        help="engines, as lightning,torch+fused_adam,torch+open,alone:keras (default: all)",
    )
    parser.add_argument("--quick", action="store_true", help="few repeats")
    parser.add_argument("--repeats", type=int, help="of everything (default 9; quick: 3)")
    parser.add_argument("--pairs", type=int, default=100, help="for --overhead")
    parser.add_argument("--seeds", type=int, default=3, help="for --accuracy, from 0 on")
    parser.add_argument("--steps", type=int, default=50, help="batches of a repeat, for --module")
    parser.add_argument("--doc", type=Path, help="put the table between this document's markers")
    return parser


def _kinds(options: argparse.Namespace) -> dict[str, Callable[[], str]]:
    """What makes each table, by the option that asks for it."""
    # --help need not wait for PyTorch
    from mnist_gpu.bench import costs, tables

    models = options.models.split(",")
    variants = [name for name in options.variants.split(",") if name]
    repeats = options.repeats or (3 if options.quick else 9)
    return {
        "bench": lambda: tables.speed(models, variants, repeats),
        "switches": lambda: tables.switches(models, variants, repeats),
        "module": lambda: tables.module(options.module, options.steps, repeats),
        "overhead": lambda: tables.overhead(models, variants, options.pairs),
        "where": lambda: costs.where(models, repeats),
        "memory": lambda: costs.memory(models[0], variants, repeats),
        "startup": lambda: costs.startup(variants or ["lightning", "torch"], repeats),
        "accuracy": lambda: costs.accuracy(
            (variants or ["lightning"])[0], models[0], options.accuracy, options.seeds
        ),
    }


if __name__ == "__main__":
    main()
