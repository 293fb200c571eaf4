"""The README's first answer: what each machine took so far, and which ones nobody has tried."""

from mnist_gpu.protocol.standard import protocol
from mnist_gpu.report.comparison import newest, sound
from mnist_gpu.report.statistics import ENOUGH
from mnist_gpu.report.summary import Summary
from mnist_gpu.report.table import TBD, escape, missing

MOST_MACHINES = 6
WITHIN = "[All results](#results)"
ELSEWHERE = "What yours would take, [a minute of training](docs/estimate.md) tells."


def answer(summary: Summary) -> str:
    """One paragraph of Markdown, ends with a newline: the training times of the standard run by the
    common engine, the fastest first, and the promised rows without a run.

    Nothing is compared in it: that is left to the findings, which know what may be.
    """
    engine, epochs = protocol()["common_engine"], protocol()["standard"]["epochs"]
    wanted = (engine, "float32", 1)
    ours = [r for r in summary.rows if (r.key.engine, r.key.precision, r.key.devices) == wanted]
    rows = newest(list(filter(sound, ours)), lambda row: row.key.platform)
    took = [f"{escape(str(row.train_s))} on {escape(row.place)}" for row in rows[:MOST_MACHINES]]
    said = "; ".join(took) or TBD
    sentences = [f"**So far**, the {epochs} epochs of stock {engine} took {said}."]
    if len(rows) > MOST_MACHINES:
        sentences.append(f"And {len(rows) - MOST_MACHINES} more.")
    if any(row.n < ENOUGH for row in rows):
        sentences.append(f"What has fewer than {ENOUGH} runs (n) is compared with nothing.")
    if untried := missing(summary):
        sentences.append(f"**Nobody has run it yet** on these: {'; '.join(map(escape, untried))}.")
    return " ".join([*sentences, f"{WITHIN}. {ELSEWHERE}"]) + "\n"
