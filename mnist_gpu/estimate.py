"""How long the standard run would take here: `python -m mnist_gpu.estimate platform=cpu`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnist_gpu.errors import UserError
from mnist_gpu.output import entry

if TYPE_CHECKING:
    from mnist_gpu.runs.execute import Estimating

BUDGET_S = 60.0
HELP = f"""python -m mnist_gpu.estimate [OPTION=VALUE ...] [budget_s={BUDGET_S:g}]

Train what was asked for about a minute, and say how long the whole run would take here, what it
would cost, and whether it fits the platform's session. Options are those of mnist_gpu.train;
-m platform=cpu,m1 or -m division=stock,tuned,open prints one comparing table.

  budget_s=60   seconds of training
"""


@entry
def main(arguments: Sequence[str] | None = None) -> int:
    """Estimate; 0 when all went well, 1 for what the user can mend."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help"} & set(given):
        print(HELP, end="")
        return 0
    # Hydra would refuse a key that `conf/` does not have
    budget_s, overrides = _budget(given)
    from mnist_gpu.runs.execute import Estimating
    from mnist_gpu.train import run_app

    estimating = Estimating(budget_s)
    code = run_app(overrides, estimating)
    _show(estimating)
    return code


def _budget(given: Sequence[str]) -> tuple[float, list[str]]:
    budget_s = BUDGET_S
    overrides = []
    for argument in given:
        key, _, value = argument.partition("=")
        if key != "budget_s":
            overrides.append(argument)
            continue
        try:
            budget_s = float(value)
        except ValueError:
            budget_s = 0.0
        if not 1 <= budget_s <= 86_400:
            raise UserError(f"{argument}: a number of seconds, from 1 to 86400")
    return budget_s, overrides


def _show(estimating: "Estimating") -> None:
    from mnist_gpu.records.fit import sentences
    from mnist_gpu.report.estimates import show
    from mnist_gpu.runs.estimating import NAME

    for estimate, folder in estimating.estimates:
        print(f"\n{estimate.label}, {estimate.engine} on {estimate.hardware}, {estimate.division}")
        print("\n".join(sentences(estimate)))
        print(f"estimate.json  {folder / NAME}")
    if len(estimating.estimates) > 1:
        print()
        show(estimate for estimate, _ in estimating.estimates)


if __name__ == "__main__":
    code = main()
    from mnist_gpu.runs.process import leave

    leave(code)
