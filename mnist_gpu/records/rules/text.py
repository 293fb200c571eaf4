"""Rules on texts and numbers as such: nothing in a record may act on whoever reads it."""

from collections.abc import Iterator

from mnist_gpu.records.acceptable import markup_in, private_part_of
from mnist_gpu.records.rules.registry import Finding, Subject, safety_rule

MOST_ENTRIES = 200
MOST_EPOCHS = 100_000
KEPT = {
    *("constructor", "prototype", "tostring", "valueof", "hasownproperty", "isprototypeof"),
    *("tolocalestring", "propertyisenumerable"),
}
LARGEST = 2**53
LARGEST_RATE = 1e18
RATES = {"result.flops_per_s", "result.images_per_s"}


@safety_rule
def plain_text(subject: Subject) -> Iterator[Finding]:
    """No text acts on whoever reads it: no control characters, markup or script."""
    yield from ((field, why) for field, text in subject.texts if (why := markup_in(text)))


@safety_rule
def no_private_text(subject: Subject) -> Iterator[Finding]:
    """No text points at a person, a disk, a machine or a secret."""
    yield from ((field, why) for field, text in subject.texts if (why := private_part_of(text)))


@safety_rule
def safe_numbers(subject: Subject) -> Iterator[Finding]:
    """Every number is finite and small enough that every reader sees the same one."""
    for field, number in subject.numbers:
        # free-form parts may hold what no field allows
        if not -LARGEST <= number <= (LARGEST_RATE if field in RATES else LARGEST):
            yield field, "is not a finite number of at most 2**53"
    rows = subject.record.epochs
    for field in ("epoch", "train_s", "eval_s", "train_loss", "test_loss"):
        column = [getattr(row, field) for row in rows]
        if column and not -LARGEST <= min(column) <= max(column) <= LARGEST:
            yield f"epochs.*.{field}", "holds a number that is not of at most 2**53"


@safety_rule
def short_lists(subject: Subject) -> Iterator[Finding]:
    """Lists and mappings are as short as those of true records, at every depth."""
    for field, size in subject.sizes:
        most = MOST_EPOCHS if field == "epochs" else MOST_ENTRIES
        if size > most:
            yield field, f"has {size} entries, more than {most}"


@safety_rule
def harmless_keys(subject: Subject) -> Iterator[Finding]:
    """No name is one that programs keep for themselves, such as `__proto__`."""
    record = subject.record
    names = [("run_id", record.run_id), ("platform.name", record.platform.name)]
    names += [("engine.name", record.engine.name), ("workload.model", record.workload.model)]
    for field, name in [*names, *((f, t) for f, t in subject.texts if f.endswith("(a key)"))]:
        if name.lower() in KEPT or name.startswith("__"):
            yield field, f"{name!r} is a name that programs keep for themselves"
