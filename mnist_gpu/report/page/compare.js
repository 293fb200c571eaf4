// Two ticked rows beside each other, in the words of `report --compare`.

const picked = new Set();

function pickBox(row) {
  const box = element("input", { type: "checkbox", "aria-label": `Compare ${shortened(row.name, 120)} (${row.ref})` });
  box.checked = picked.has(row.ref);
  box.addEventListener("change", () => {
    if (box.checked) picked.add(row.ref);
    else picked.delete(row.ref);
    // a third tick takes the place of the first
    if (picked.size > 2) picked.delete([...picked][0]);
    for (const other of document.querySelectorAll("#rows input")) other.checked = picked.has(other.closest("tr").id);
    showPicked();
    writeAddress();
  });
  return box;
}

function showPicked() {
  const names = [...picked];
  const place = byId("pick");
  if (names.length < 2) return place.replaceChildren(names.length ? `${names[0]} ticked: tick another row to compare them.` : "");
  place.replaceChildren(element("button", { type: "button", onclick: openComparison }, `Compare ${names.join(" with ")}`));
}

function openComparison() {
  const [a, b] = [...picked].map((ref) => rowOf.get(ref));
  byId("dialog-title").textContent = `${a.ref} against ${b.ref}`;
  const differing = differences(a, b);
  byId("dialog-body").replaceChildren(
    pairs([["A", described(a)], ["B", described(b)]]),
    element("h3", {}, "A against B, ratios of medians"),
    pairs(measures(a, b)),
    element("h3", {}, "What differs between them"),
    list(differing.length ? differing : ["nothing that the page tells"]),
    element("h3", {}, "What cannot be concluded"),
    list(limits(a, b, differing)),
    element("p", { class: "note" }, "With intervals: ", element("code", {}, `python -m mnist_gpu.report results/ --compare ${a.ref} ${b.ref}`)),
  );
  byId("dialog").showModal();
  byId("dialog").scrollTop = 0;
}

function list(lines) {
  return element("ul", {}, ...lines.map((line) => element("li", {}, line)));
}

function described(row) {
  return `${row.name} (n = ${row.n}; ${row.origin})`;
}

function measures(a, b) {
  const ratio = (x, y) => (x && y ? `${brief(x / y, 3)} times (${brief(x)} against ${brief(y)})` : "not measured in every run");
  const used = (name) => ratio(a.used[name], b.used[name]);
  return [
    ["training time", ratio(a.train.median, b.train.median)],
    ["whole run", ratio(a.total.median, b.total.median)],
    ["peak memory", used("rss_peak_mib")],
    ["energy", used("energy_j")],
    ["test accuracy", `${a.accuracy.text} against ${b.accuracy.text}`],
    ["cost of a run", `${a.cost.text} against ${b.cost.text}`],
  ];
}

const COMPARED = ["platform", "machine", "engine", "tuning", "precision", "model", "dataset", "compile", "origin", "deviations"];

function differences(a, b) {
  const said = (value) => (Array.isArray(value) ? value.join("; ") : value) || "none";
  return COMPARED.filter((name) => said(a[name]) !== said(b[name])).map((name) => `${name === "tuning" ? "division" : name}: ${said(a[name])} | ${said(b[name])}`);
}

function limits(a, b, differing) {
  const found = [a, b].flatMap((row) => [
    ...(row.n < 3 ? [`${row.ref} has ${row.n === 1 ? "1 run" : `${row.n} runs`}: it takes 3 to tell how runs differ`] : []),
    ...row.doubts.map((doubt) => `${row.ref} is doubted: ${doubt}`),
    ...row.notes.map((note) => `${row.ref}: ${note}`),
  ]);
  if (a.division !== b.division) found.push("the divisions differ: this is what switches or kernels add, not what machines do");
  if (differing.length > 1) found.push(`which of the ${differing.length} differences makes the ratio`);
  if (!differing.length) found.push("a cause of any ratio: nothing that the page tells differs");
  found.push("which of the two trains faster, without the interval of the ratio");
  const outcomes = [a, b].map((row) => `${row.ref} ${row.gate.outcome}`).join(", ");
  if (a.gate.outcome !== "passes" || b.gate.outcome !== "passes") found.push(`that both trained to the same accuracy (gate: ${outcomes})`);
  return found;
}
