"use strict";
// Small helpers for the document. Text from records only ever becomes text nodes.

const data = JSON.parse(document.getElementById("data").textContent);
const rowOf = new Map(data.rows.map((row) => [row.ref, row]));

function byId(id) {
  return document.getElementById(id);
}

/** An element with attributes and children; strings become text, never markup. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** An https link, or plain text for anything else that claims to be one. */
function link(text) {
  if (!/^https:\/\/[^\s]+$/.test(text)) return document.createTextNode(text);
  return element("a", { href: text, rel: "noopener noreferrer nofollow", target: "_blank" }, text);
}

function shortened(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}\u2026` : text;
}

function isNarrow() {
  return window.matchMedia("(max-width: 45rem)").matches;
}

/** Seconds for people. */
function seconds(value) {
  if (value === null || value === undefined) return "";
  const digits = Math.max(0, Math.min(3, 2 - Math.floor(Math.log10(Math.max(value, 1e-9)))));
  return `${value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} s`;
}

/** A number with the digits that its spread supports, three without one: as the report writes it. */
function figure(value, spread = 0) {
  const exponent = Math.floor(Math.log10(Math.abs(spread || value) || 1));
  const digits = spread > 0 ? Math.min(6, (spread / 10 ** exponent < 2 ? 1 : 0) - exponent) : value ? Math.min(9, 2 - exponent) : 0;
  const places = Math.max(0, digits);
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places, roundingMode: "halfEven" });
}
