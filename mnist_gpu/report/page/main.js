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

/** Say where the table goes on, while it does. */
function showHint() {
  const { scrollWidth, clientWidth, scrollLeft } = byId("scroll");
  byId("hint").hidden = scrollWidth <= clientWidth + 1;
  byId("scroll").classList.toggle("cut", scrollLeft + clientWidth < scrollWidth - 1);
}

function showPublished() {
  const { entries, as_of } = data.published;
  if (!entries.length) return;
  byId("published").hidden = false;
  byId("published-summary").textContent = `What ${entries.length} others report, none of it run by this project nor comparable with its rows (read ${as_of})`;
  const headings = ["Hardware", "Seconds an epoch", "Framework", "Network", "Batch", "Differs in", "Source", "Published"];
  const cells = (entry) => [
    entry.hardware, [...new Set(entry.seconds_per_epoch)].join(" to "), entry.framework, entry.network === "same" ? "this project's cnn" : entry.network,
    entry.batch_size, entry.differs_in, link(entry.source), entry.published,
  ];
  byId("published-table").append(
    element("thead", {}, element("tr", {}, ...headings.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...entries.map((entry) => element("tr", {}, ...cells(entry).map((value, index) => {
      const cell = element("td", {}, value === null ? "not said" : value);
      cell.dataset.heading = headings[index];
      return cell;
    })))),
  );
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").setAttribute("aria-pressed", String(dark));
}

function listen() {
  byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
  for (const id of ["clear", "nothing-clear"]) byId(id).addEventListener("click", clearFilters);
  window.addEventListener("hashchange", followAddress);
  listenForTips();
  let waiting = 0;
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    // a phone's address bar comes and goes: what is drawn, and has the focus, may stay
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      drawCharts();
      showHint();
    }, 150);
  });
  byId("scroll").addEventListener("scroll", showHint);
  byId("more").addEventListener("click", () => {
    view.limit += PAGE_SIZE;
    showRows();
  });
  byId("dialog-close").addEventListener("click", () => byId("dialog").close());
  for (const id of ["curve-what", "curve-against"]) byId(id).addEventListener("change", () => drawCurves(inOrder()));
  byId("used-what").addEventListener("change", () => drawUsed(inOrder()));
}

function start() {
  setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches);
  showCounts();
  showFindings();
  showPublished();
  byId("scaling").hidden = data.scaling.length === 0;
  buildHeadings();
  buildFilters();
  for (const [name, text] of Object.entries(data.used)) {
    if (data.rows.some((row) => Object.hasOwn(row.used, name))) byId("used-what").append(element("option", { value: name }, text));
  }
  listen();
  followAddress();
}

start();
