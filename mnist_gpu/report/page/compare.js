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
    element("h3", {}, "A divided by B, ratios of medians"),
    pairs(measures(a, b)),
    element("h3", {}, "What differs between them"),
    list(differing.length ? differing : ["nothing that the page tells"]),
    element("h3", {}, "What cannot be concluded"),
    list(limits(a, b, differing)),
    element("p", { class: "note" }, "The same beside what their software differs in, and over the epochs of single runs: ", element("code", {}, `python -m mnist_gpu.report results/ --compare ${a.ref} ${b.ref}`)),
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
  return [
    ...data.compared.measures.map((name, index) => [name, measured(a, b, index)]),
    ["test accuracy", `${a.accuracy.text} against ${b.accuracy.text}`],
    ["cost of a run", `${a.cost.text} against ${b.cost.text}`],
  ];
}

/** A run's values of a measure; of the first, the training time, every page has them. */
function pointsOf(row, index) {
  if (Object.hasOwn(data.compared.points, row.ref)) return data.compared.points[row.ref][index];
  const runs = data.runs[row.ref] || [];
  return index === 0 && runs.length === row.n ? runs.map((run) => run[2]) : null;
}

function measured(a, b, index) {
  const points = [pointsOf(a, index), pointsOf(b, index)];
  if (points.includes(null)) return "not on this page, which has the training times alone of so many runs";
  if (points.flat().some((value) => !value)) return "not measured in every run";
  const { value, interval } = ratioOf(...points);
  const middles = points.map(medianOf);
  const said = `${timesText(value, interval)} (${middles.map((middle) => `${figure(middle)} ${data.compared.units[index]}`).join(" against ")})`;
  if (!interval && points.every(({ length }) => length >= data.compared.enough)) return `${said}, its interval by the command below`;
  if (!interval) return `${said}, without an interval: it takes ${data.compared.enough} runs on both sides`;
  return tellsApart(interval) ? said : `${said}; not told apart`;
}

/** The ratio of two medians with its bootstrap interval, from the draws that `report --compare` makes. */
function ratioOf(ours, theirs) {
  const drawn = [ours, theirs].map(resampledMedians);
  const interval = drawn.includes(null) ? null : bounds(drawn[0].map((value, index) => value / drawn[1][index]));
  return { value: medianOf(ours) / medianOf(theirs), interval };
}

function resampledMedians(points, side) {
  if (!Object.hasOwn(data.compared.places, points.length)) return null;
  const places = data.compared.places[points.length][side];
  const [low, high] = [places[0], places.at(-1)];
  const ordered = [...points].sort((x, y) => x - y);
  return low.map((place, index) => (ordered[place] + ordered[high[index]]) / 2);
}

function medianOf(points) {
  const ordered = [...points].sort((x, y) => x - y);
  const half = ordered.length / 2;
  return (ordered[Math.ceil(half) - 1] + ordered[Math.floor(half)]) / 2;
}

function bounds(values) {
  const ordered = [...values].sort((x, y) => x - y);
  return [(1 - data.compared.confidence) / 2, (1 + data.compared.confidence) / 2].map((share) => {
    const at = share * (ordered.length - 1);
    const [below, above] = [ordered[Math.floor(at)], ordered[Math.ceil(at)]];
    return below + (above - below) * (at - Math.floor(at));
  });
}

function tellsApart([low, high]) {
  return !(low <= 1 && 1 <= high);
}

function timesText(value, interval) {
  if (!interval) return `${figure(value)} times`;
  const half = (interval[1] - interval[0]) / 2;
  const [low, high] = interval.map((bound) => figure(bound, half));
  return `${figure(value, half)} times (${data.compared.confidence * 100} % interval ${low} to ${high})`;
}

const COMPARED = ["platform", "machine", "engine", "tuning", "precision", "model", "dataset", "compile", "origin", "deviations"];
const CALLED = { tuning: "division", origin: "version, commit, date" };

function differences(a, b) {
  const said = (value) => (Array.isArray(value) ? value.join("; ") : value) || "none";
  return COMPARED.filter((name) => said(a[name]) !== said(b[name])).map((name) => `${CALLED[name] || name}: ${said(a[name])} | ${said(b[name])}`);
}

function limits(a, b, differing) {
  const found = [a, b].flatMap((row) => [
    ...(row.n < data.compared.enough ? [`${row.ref} has ${row.n === 1 ? "1 run" : `${row.n} runs`}: it takes ${data.compared.enough} to tell how runs differ`] : []),
    ...row.doubts.map((doubt) => `${row.ref} is doubted: ${doubt}`),
    ...row.notes.map((note) => `${row.ref}: ${note}`),
  ]);
  if (a.epochs !== b.epochs) found.push("the numbers of epochs differ: compare the time of an epoch");
  if (a.division !== b.division) found.push("the divisions differ: this is what switches or kernels add, not what machines do");
  if (differing.length > 1) found.push(`which of the ${differing.length} differences makes the ratio`);
  if (!differing.length) found.push("a cause of any ratio: nothing that the page tells differs");
  const points = [pointsOf(a, 0), pointsOf(b, 0)];
  const interval = points.includes(null) ? null : ratioOf(...points).interval;
  if (interval && interval[1] > data.compared.widest * interval[0]) found.push(`how large the ratio is: its interval is wider than a factor of ${data.compared.widest}`);
  if (!interval || !tellsApart(interval)) found.push("which of the two trains faster");
  const outcomes = `A ${a.gate.outcome}, B ${b.gate.outcome}`;
  if (a.gate.outcome !== "passes" || b.gate.outcome !== "passes") found.push(`that both trained to the same accuracy (the accuracy gate says: ${outcomes})`);
  return found;
}
