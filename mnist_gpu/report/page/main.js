// Puts the page together and listens.

function showCounts() {
  const { runs, rows, unfinished, newest } = data.counts;
  const lost = Object.entries(unfinished).map(([status, count]) => `${count} ${status}`);
  const parts = [`${runs} runs in ${rows} rows`];
  if (newest) parts.push(`the newest of ${newest.slice(0, 10)}`);
  if (lost.length) parts.push(`not shown: ${lost.join(", ")}`);
  byId("counts").textContent = parts.join("; ");
  if (data.promised.length) byId("promised").textContent = `TBD, no standard run yet: ${data.promised.join("; ")}.`;
}

function showFindings() {
  const items = data.findings.map((finding) => {
    const links = finding.refs.flatMap((ref, index) => [index ? ", " : " ", rowLink(ref)]);
    return element("li", {}, element("strong", {}, `${finding.topic}: `), finding.text, ...links);
  });
  byId("finding-list").replaceChildren(...items);
  byId("findings").hidden = items.length === 0;
}

function rowLink(ref) {
  const made = element("a", { href: `#${ref}` }, ref);
  made.addEventListener("click", (event) => {
    event.preventDefault();
    goToRow(ref);
  });
  return made;
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").setAttribute("aria-pressed", String(dark));
}

function listen() {
  byId("theme").addEventListener("click", () => {
    setTheme(document.documentElement.dataset.theme !== "dark");
    drawCharts();
  });
  byId("more").addEventListener("click", () => {
    view.limit += PAGE_SIZE;
    showRows();
  });
  byId("dialog-close").addEventListener("click", () => byId("dialog").close());
  for (const id of ["curve-what", "curve-against"]) byId(id).addEventListener("change", () => drawCurves(sorted(view.rows)));
  byId("used-what").addEventListener("change", () => drawUsed(sorted(view.rows)));
  window.matchMedia("(max-width: 45rem)").addEventListener("change", drawCharts);
}

function start() {
  setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches);
  showCounts();
  showFindings();
  showPhaseKey();
  byId("scaling").hidden = data.scaling.length === 0;
  buildHeadings();
  buildFilters();
  for (const [name, text] of Object.entries(data.used)) {
    if (data.rows.some((row) => row.used[name] !== null)) byId("used-what").append(element("option", { value: name }, text));
  }
  listen();
  applyFilters();
  if (data.rows.some((row) => `#${row.ref}` === location.hash)) goToRow(location.hash.slice(1));
}

start();
