"""Records on disk -> their summary; what is refused is named on standard error."""

import sys
from collections.abc import Sequence

from mnist_gpu.errors import UserError
from mnist_gpu.records.rules import check_files
from mnist_gpu.report.published import find_published
from mnist_gpu.report.summary import Summary, summarise

MOST_FAULTS_SHOWN = 20


def load(paths: Sequence[str]) -> Summary:
    """Judge the records under `paths` and summarise those that are acceptable.

    Raises:
        UserError: a path does not exist, or there are records and none is acceptable.
    """
    verdict = check_files(paths)
    for fault in verdict.faults[:MOST_FAULTS_SHOWN]:
        print(f"refused: {fault}", file=sys.stderr)
    if len(verdict.faults) > MOST_FAULTS_SHOWN:
        more = len(verdict.faults) - MOST_FAULTS_SHOWN
        print(f"refused: {more} more faults; see mnist_gpu.validate", file=sys.stderr)
    if verdict.faults and not verdict.accepted:
        raise UserError("no record is acceptable: nothing to report")
    return summarise(verdict.accepted, verdict.doubts, published=find_published(paths))
