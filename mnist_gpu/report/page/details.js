// The dialog about one row: what it rests on, and each run's record.

const RUNS_IN_DIALOG = 100;

function openRow(row) {
  byId("dialog-title").textContent = `${shortened(row.name, 160)} (${row.ref})`;
  byId("dialog-body").replaceChildren(
    pairs(rowFacts(row)),
    element("h3", {}, `Runs (n = ${row.n})`),
    ...runList(row),
  );
  byId("dialog").showModal();
  byId("dialog").scrollTop = 0;
  writeAddress(row.ref);
}

function rowFacts(row) {
  const reached = Object.entries(row.reached).map(
    ([target, found]) => `${target}: ${found.s === null ? "never" : seconds(found.s)} (${found.n} of ${found.of} runs)`,
  );
  return [
    ["Runs", data.categories[row.category]],
    ["Training time", [row.train.text, row.interval && `95 % bootstrap interval of the median ${row.interval}`].filter(Boolean).join("; ")],
    ["Whole run", row.total.text],
    ["Test accuracy", row.accuracy.text],
    ["Accuracy gate", `${row.gate.outcome}: ${row.gate.basis}`],
    ["Training time to", reached.join("; ")],
    ["Cost of a run", [row.cost.text, row.cost.usdText].filter(Boolean).join("; ")],
    ["Cost to 99 %", row.costTo99 ? [row.costTo99.text, row.costTo99.usdText].filter(Boolean).join("; ") : "never reached"],
    ["Division", row.tuning || "stock"],
    ["Cost worked out from", row.cost.basis],
    ["Deviations", row.deviations.join("; ") || "none"],
    ["Doubts", row.doubts.join("; ") || "none"],
    ["Notes", row.notes.join("; ") || "none"],
    ["Version, commit, date", row.origin],
  ];
}

function runList(row) {
  const runs = data.runs[row.ref] || [];
  const made = runs.slice(0, RUNS_IN_DIALOG).map((run) => runDetails(run));
  const hidden = row.n - made.length;
  if (hidden > 0) made.push(element("p", { class: "note" }, `${hidden} more runs: see runs.csv beside this page.`));
  return made;
}

function runDetails(run) {
  const title = `seed ${run[1]}: ${seconds(run[2])} of training, ${(run[3] * 100).toFixed(2)} %, ${run[4]}`;
  const made = element("details", {}, element("summary", {}, title));
  // filled when opened: a thousand records need not be in the document at once
  made.addEventListener("toggle", () => {
    if (made.open && made.childElementCount === 1) made.append(...recordParts(run[0]));
  });
  return made;
}

function recordParts(id) {
  const record = Object.hasOwn(data.details, id) ? data.details[id] : null;
  if (!record) return [element("p", { class: "note" }, `Run ${id}: its record is not on this page, which carries ${data.counts.details} of ${data.counts.runs}.`)];
  const loose = Object.entries(record).filter(([, value]) => value === null || typeof value !== "object");
  const parts = Object.entries(record).filter(([, value]) => value !== null && typeof value === "object");
  return [pairs(loose), ...parts.flatMap(([name, value]) => [element("h3", {}, name), pairs(flattened(value))])];
}

/** Nested values as [dotted name, text] pairs. */
function flattened(value, prefix = "") {
  return Object.entries(value).flatMap(([name, inner]) => {
    const dotted = prefix ? `${prefix}.${name}` : name;
    if (Array.isArray(inner)) return [[dotted, inner.join("; ") || "none"]];
    if (inner !== null && typeof inner === "object") return flattened(inner, dotted);
    return [[dotted, inner]];
  });
}

function pairs(entries) {
  const list = element("dl");
  for (const [name, value] of entries) {
    const text = value === null ? "not known" : String(value);
    list.append(element("dt", {}, name), element("dd", {}, link(text)));
  }
  return list;
}
