// How far drawn colours stand out from what is behind them (WCAG 2), with every transparency counted.

const paint = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });

/** What one sees of colours laid on each other, the undermost first: [[colour, opacity], ...]. */
function seen(layers) {
  paint.clearRect(0, 0, 1, 1);
  for (const [colour, opacity] of [["white", 1], ...layers]) {
    paint.globalAlpha = opacity;
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
  }
  return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
}

function luminance(rgb) {
  const [red, green, blue] = rgb.map((value) => (value <= 10 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function behind(element) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.unshift([getComputedStyle(at).backgroundColor, 1]);
  return layers;
}

/** The contrast of a colour with what is behind an element. */
function contrast(colour, opacity, element) {
  const ground = behind(element);
  const [high, low] = [seen(ground), seen([...ground, [colour, opacity]])].map(luminance).sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

function ofMark(mark) {
  const look = getComputedStyle(mark);
  if (mark.classList.contains("swatch")) return contrast(look.backgroundColor, 1, mark.parentElement);
  const sides = [[look.fill, look.fillOpacity], [look.stroke, look.strokeOpacity]].filter(([colour]) => colour !== "none");
  return Math.max(...sides.map(([colour, opacity]) => contrast(colour, opacity * look.opacity, mark.closest(".chart"))));
}

/** Marks, lines and the colours of a key that stand out too little, each in all of the charts' colours. */
function faintMarks(least) {
  const root = document.documentElement;
  const names = Array.from({ length: COLOURS }, (_, index) => `--c${index}`);
  const colours = names.map((name) => getComputedStyle(root).getPropertyValue(name));
  const marks = [...document.querySelectorAll(".chart .mark:not(.touch), .chart path, .chart .spread, .swatch")];
  const faint = colours.flatMap((colour) => {
    for (const name of names) root.style.setProperty(name, colour);
    return marks.map((mark) => [colour, mark.outerHTML.slice(0, 90), ofMark(mark)]).filter(([, , ratio]) => ratio < least);
  });
  for (const name of names) root.style.removeProperty(name);
  return [marks.length, faint];
}

/** Texts in sight that stand out too little, and how many there are. */
function faintTexts(least) {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !parent.checkVisibility() || parent.closest("script, style, option")) continue;
    const drawn = parent.closest("svg");
    const look = getComputedStyle(parent);
    found.push([walker.currentNode.data, contrast(drawn ? look.fill : look.color, look.opacity, drawn?.parentElement || parent)]);
  }
  for (const field of document.querySelectorAll("input, select")) {
    const kinds = field.placeholder ? [null, "::placeholder"] : [null];
    for (const kind of kinds) found.push([field.id + (kind || ""), contrast(getComputedStyle(field, kind).color, getComputedStyle(field, kind).opacity, field)]);
  }
  return [found.length, found.filter(([, ratio]) => ratio < least)];
}
