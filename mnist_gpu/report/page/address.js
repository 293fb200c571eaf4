// The filters, the order and the row in sight stand in the address, so that a link or a reload keeps them.

const FILTERS = ["text", "category", "engine", "platform"];

/** `#row=...&engine=...`; a bare `#name-of-a-row`, as the documents link, is a row too. */
function readAddress() {
  let text = location.hash.slice(1);
  try {
    if (rowOf.has(decodeURIComponent(text))) return { row: decodeURIComponent(text) };
  } catch {
    text = "";
  }
  return Object.fromEntries(new URLSearchParams(text));
}

function writeAddress(row = readAddress().row) {
  const kept = new URLSearchParams();
  for (const name of FILTERS) {
    const value = byId(`filter-${name}`).value;
    if (value !== (name === "category" ? firstCategory() : "")) kept.set(name, value);
  }
  if (view.sort !== FIRST_SORT || view.descending) kept.set("sort", `${view.descending ? "-" : ""}${view.sort}`);
  if (picked.size) kept.set("compare", [...picked].join(","));
  if (row) kept.set("row", row);
  // a new entry of the history for each letter would bury the page one came from
  history.replaceState(null, "", kept.size ? `#${kept}` : location.pathname + location.search);
}

/** Make the page what the address says. */
function followAddress() {
  const asked = readAddress();
  for (const name of FILTERS) setFilter(name, asked[name] ?? (name === "category" ? firstCategory() : ""));
  const sort = asked.sort || FIRST_SORT;
  view.descending = sort.startsWith("-");
  view.sort = columns.some((column) => column.title === sort.replace(/^-/, "")) ? sort.replace(/^-/, "") : FIRST_SORT;
  picked.clear();
  for (const ref of (asked.compare || "").split(",")) if (rowOf.has(ref) && picked.size < 2) picked.add(ref);
  refresh();
  if (asked.row && rowOf.has(asked.row)) goToRow(asked.row);
}

function setFilter(name, value) {
  const field = byId(`filter-${name}`);
  field.value = value;
  if (field.value !== value) field.value = "";
}
