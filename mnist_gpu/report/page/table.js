// The table of rows: sorting, filtering, and only as many rows in the document as one can read.

const PAGE_SIZE = 50;

const columns = [
  { title: "Row", key: (row) => Number(row.ref.slice(1)), cell: rowButton },
  { title: "Platform", style: "wide", key: (row) => row.label.toLowerCase(), cell: platformCell },
  { title: "Trained by", key: (row) => `${row.engine} ${row.precision}`, cell: engineCell },
  { title: "On", style: "wide", key: (row) => row.machine.toLowerCase(), cell: (row) => [row.machine] },
  { title: "Training time", number: true, key: (row) => row.train.median, cell: (row) => [row.train.text] },
  { title: "Whole run", number: true, key: (row) => row.total.median, cell: (row) => [row.total.text] },
  { title: "Accuracy", number: true, key: (row) => row.accuracy.median, cell: accuracyCell },
  { title: "To 99 %", number: true, key: (row) => row.reached["99%"].s, cell: reachedCell },
  { title: "Cost of a run", number: true, style: "number cost", key: (row) => row.cost.usd, cell: costCell },
  { title: "n", number: true, key: (row) => row.n, cell: (row) => [String(row.n)] },
];

const view = { sort: "Training time", descending: false, limit: PAGE_SIZE, rows: [] };

function rowButton(row) {
  const label = `Details of row ${row.ref}: ${row.name}`;
  return [element("button", { type: "button", "aria-label": label, onclick: () => openRow(row) }, row.ref)];
}

function platformCell(row) {
  const said = [...row.deviations, ...row.doubts, ...row.notes];
  return [row.label, said.length ? element("span", { class: "sub" }, shortened(said.join("; "), 160)) : null];
}

function engineCell(row) {
  const said = [row.precision === "float32" ? "" : row.precision, row.compile === "none" ? "" : `compile: ${row.compile}`];
  const text = said.filter(Boolean).join(", ");
  return [row.engine, text ? element("span", { class: "sub" }, shortened(text, 80)) : null];
}

function accuracyCell(row) {
  if (row.gate.outcome !== "not shown equivalent") return [row.accuracy.text];
  return [element("span", { class: "bad", title: row.gate.basis }, `${row.accuracy.text}, not shown equivalent`)];
}

function reachedCell(row) {
  const found = row.reached["99%"];
  if (found.s === null) return ["never"];
  const some = found.n < found.of ? element("span", { class: "sub" }, `${found.n} of ${found.of}`) : null;
  return [seconds(found.s), some];
}

function costCell(row) {
  const usd = row.cost.usdText ? element("span", { class: "sub" }, row.cost.usdText) : null;
  return [element("span", { title: row.cost.basis }, shortened(row.cost.text, 60)), usd];
}

function buildHeadings() {
  for (const column of columns) {
    const button = element("button", { type: "button", onclick: () => sortBy(column.title) }, column.title);
    const heading = element("th", { scope: "col", class: column.number ? "number" : null }, button);
    heading.dataset.title = column.title;
    byId("headings").append(heading);
  }
}

function sortBy(title) {
  view.descending = view.sort === title ? !view.descending : false;
  view.sort = title;
  showRows();
}

function fillSelect(id, options, first) {
  const select = byId(id);
  select.append(element("option", { value: "" }, first));
  for (const [value, text] of options) select.append(element("option", { value }, text));
  select.addEventListener("change", applyFilters);
}

function buildFilters() {
  const present = new Set(data.rows.map((row) => row.category));
  const categories = Object.entries(data.categories).filter(([name]) => present.has(name));
  const unique = (name) => [...new Set(data.rows.map((row) => row[name]))].sort().map((value) => [value, value]);
  fillSelect("filter-category", categories, "All");
  fillSelect("filter-engine", unique("engine"), "All");
  fillSelect("filter-platform", unique("platform"), "All");
  if (categories.length) byId("filter-category").value = categories[0][0];
  for (const row of data.rows) row.haystack = [row.ref, row.name, row.platform, row.model, row.dataset, ...row.deviations].join(" ").toLowerCase();
  let waiting = 0;
  byId("filter-text").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(applyFilters, 120);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
}

function applyFilters() {
  const words = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = ["category", "engine", "platform"].map((name) => [name, byId(`filter-${name}`).value]);
  view.rows = data.rows.filter(
    (row) => wanted.every(([name, value]) => !value || row[name] === value) && words.every((word) => row.haystack.includes(word)),
  );
  view.limit = PAGE_SIZE;
  showRows();
  drawCharts();
}

function sorted(rows) {
  const { key } = columns.find((column) => column.title === view.sort);
  const sign = view.descending ? -1 : 1;
  // rows without a value come last in either direction
  return [...rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return x < y ? -sign : x > y ? sign : 0;
  });
}

function showRows() {
  const rows = sorted(view.rows);
  const shown = rows.slice(0, view.limit);
  byId("rows").replaceChildren(...shown.map(rowElement));
  byId("more").hidden = shown.length === rows.length;
  byId("shown").textContent = `${shown.length} of ${data.rows.length} rows shown${shown.length < rows.length ? ` (${rows.length} match)` : ""}`;
  for (const heading of byId("headings").children) {
    const active = heading.dataset.title === view.sort;
    heading.setAttribute("aria-sort", active ? (view.descending ? "descending" : "ascending") : "none");
  }
}

function rowElement(row) {
  const made = element("tr", { id: row.ref });
  for (const column of columns) {
    const cell = element("td", { class: column.style || (column.number ? "number" : null) }, element("span", {}, ...column.cell(row).filter(Boolean)));
    cell.dataset.heading = column.title;
    made.append(cell);
  }
  return made;
}

/** Bring a row into sight, whatever the filters hide. */
function goToRow(ref) {
  byId("filter-text").value = "";
  for (const name of ["category", "engine", "platform"]) byId(`filter-${name}`).value = "";
  const row = data.rows.find((one) => one.ref === ref);
  byId("filter-category").value = row.category;
  applyFilters();
  view.limit = Math.max(view.limit, sorted(view.rows).indexOf(row) + 1);
  showRows();
  byId(ref).classList.add("found");
  byId(ref).scrollIntoView({ block: "center" });
  byId(ref).querySelector("button").focus({ preventScroll: true });
}
