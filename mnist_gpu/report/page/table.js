// The table of rows: sorting, filtering, and only as many rows in the document as one can read.

const PAGE_SIZE = 50;

const columns = [
  { title: "Row", key: (row) => row.ref, cell: rowCell },
  { title: "Platform", style: "wide", key: (row) => row.label.toLowerCase(), cell: platformCell },
  { title: "Trained by", key: (row) => `${row.engine} ${row.precision}`, cell: engineCell },
  { title: "On", style: "wide", key: (row) => row.machine.toLowerCase(), cell: (row) => [shortened(row.machine, 90)] },
  { title: "Training time", number: true, key: (row) => row.train.median, cell: (row) => [row.train.text] },
  { title: "Whole run", number: true, key: (row) => row.total.median, cell: (row) => [row.total.text] },
  { title: "Accuracy", number: true, key: (row) => row.accuracy.median, cell: (row) => [row.accuracy.text] },
  { title: "Gate", style: "gate", key: (row) => row.gate.outcome, cell: gateCell },
  { title: "To 99 %", number: true, key: (row) => row.reached["99%"].s, cell: reachedCell },
  { title: "Cost of a run", number: true, style: "number cost", key: (row) => row.cost.usd, cell: costCell },
  { title: "n", number: true, key: (row) => row.n, cell: (row) => [String(row.n)] },
  { title: "Version, commit, date", style: "wide", key: (row) => row.origin, cell: (row) => [row.origin] },
];

const FIRST_SORT = "Training time";
const view = { sort: FIRST_SORT, open: new Set(), beneath: new Map(), descending: false, limit: PAGE_SIZE, rows: [] };

function rowCell(row) {
  const label = `Details of row ${row.ref}: ${row.name}`;
  return [pickBox(row), element("button", { type: "button", class: "ref", "aria-label": label, onclick: () => openRow(row) }, row.ref), foldButton(row)];
}

function platformCell(row) {
  const said = [...row.deviations, ...row.doubts, ...row.notes];
  return [shortened(row.label, 60), said.length ? element("span", { class: "sub" }, shortened(said.join("; "), 160)) : null];
}

function engineCell(row) {
  const text = [row.precision === "float32" ? "" : row.precision, row.tuning].filter(Boolean).join(", ");
  return [row.engine, text ? element("span", { class: "sub" }, shortened(text, 80)) : null];
}

function gateCell(row) {
  const look = { passes: "good", "not shown equivalent": "bad" }[row.gate.outcome];
  return [element("span", { class: look, title: row.gate.basis }, row.gate.outcome)];
}

/** Rows of switches or kernels stand under their stock row, once it is unfolded. */
function foldButton(row) {
  const folded = (view.beneath.get(row.ref) || []).length;
  if (!folded) return null;
  const open = view.open.has(row.ref);
  const toggle = () => {
    if (!view.open.delete(row.ref)) view.open.add(row.ref);
    showRows();
    byId(row.ref).querySelector(".fold").focus();
  };
  return element("button", { type: "button", class: "fold", "aria-expanded": String(open), onclick: toggle }, `${open ? "fold" : "show"} ${folded} tuned or open`);
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
  writeAddress();
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
  for (const row of data.rows) row.haystack = [row.ref, row.name, row.platform, row.model, row.dataset, ...row.deviations].join(" ").toLowerCase();
  let waiting = 0;
  byId("filter-text").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(applyFilters, 120);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
}

/** What is shown unless asked otherwise: the first category that there is. */
function firstCategory() {
  return Object.keys(data.categories).find((name) => data.rows.some((row) => row.category === name)) || "";
}

function clearFilters() {
  for (const name of FILTERS) setFilter(name, name === "category" ? firstCategory() : "");
  applyFilters();
  byId("filter-text").focus();
}

function applyFilters() {
  refresh();
  writeAddress("");
}

function refresh() {
  const words = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = ["category", "engine", "platform"].map((name) => [name, byId(`filter-${name}`).value]);
  view.rows = data.rows.filter(
    (row) => wanted.every(([name, value]) => !value || row[name] === value) && words.every((word) => row.haystack.includes(word)),
  );
  view.limit = PAGE_SIZE;
  showRows();
  showPicked();
  drawCharts();
}

/** The rows as filtered and sorted, those of a division beneath the stock row that they change. */
function inOrder() {
  return folded(true);
}

function folded(all) {
  const there = new Set(view.rows.map((row) => row.ref));
  view.beneath = new Map();
  const front = [];
  for (const row of sorted(view.rows)) {
    const parent = row.division === "stock" || !there.has(row.stock) ? null : row.stock;
    if (parent) view.beneath.set(parent, [...(view.beneath.get(parent) || []), row]);
    else front.push(row);
  }
  return front.flatMap((row) => [row, ...(all || view.open.has(row.ref) ? view.beneath.get(row.ref) || [] : [])]);
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
  const rows = folded(false);
  const shown = rows.slice(0, view.limit);
  byId("rows").replaceChildren(...shown.map(rowElement));
  byId("nothing").hidden = rows.length > 0;
  byId("scroll").hidden = rows.length === 0;
  byId("more").hidden = shown.length === rows.length;
  byId("shown").textContent = `${shown.length} of ${data.rows.length} rows shown${hiddenRows(rows)}${shown.length < rows.length ? ` (${rows.length} listed)` : ""}`;
  for (const heading of byId("headings").children) {
    const active = heading.dataset.title === view.sort;
    heading.setAttribute("aria-sort", active ? (view.descending ? "descending" : "ascending") : "none");
  }
  showHint();
}

function hiddenRows(rows) {
  const hidden = view.rows.length - rows.length;
  return hidden ? `, ${hidden} folded under their stock row` : "";
}

function rowElement(row) {
  const made = element("tr", { id: row.ref, class: row.division === "stock" ? null : "beneath" });
  for (const column of columns) {
    const cell = element("td", { class: column.style || (column.number ? "number" : null) }, element("span", {}, ...column.cell(row).filter(Boolean)));
    cell.dataset.heading = column.title;
    made.append(cell);
  }
  return made;
}

/** Bring a row into sight, whatever the filters hide. */
function goToRow(ref) {
  const row = rowOf.get(ref);
  if (!view.rows.includes(row)) {
    for (const name of FILTERS) setFilter(name, name === "category" ? row.category : "");
    refresh();
  }
  if (row.stock) view.open.add(row.stock);
  view.limit = Math.max(view.limit, folded(false).indexOf(row) + 1);
  showRows();
  writeAddress(ref);
  byId(ref).classList.add("found");
  byId(ref).scrollIntoView({ block: "center" });
  byId(ref).querySelector(".ref").focus({ preventScroll: true });
}
