// Elements, and numbers with their units. What comes from the report is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [kind, listener] of Object.entries(value)) made.addEventListener(kind, listener);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== false));
  return made;
}

const element = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const drawn = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const digits = (number) =>
  number.toLocaleString("en", { maximumSignificantDigits: 3, useGrouping: true });

function withPrefix(number, unit, prefixes) {
  for (const [prefix, size] of prefixes) if (Math.abs(number) >= size) return `${digits(number / size)} ${prefix}${unit}`;
  const [prefix, size] = prefixes[prefixes.length - 1];
  return `${digits(number / size)} ${prefix}${unit}`;
}

const seconds = (s) => withPrefix(s, "s", [["", 1], ["m", 1e-3], ["µ", 1e-6], ["n", 1e-9]]);
const bytes = (n) => withPrefix(n, "B", [["G", 1e9], ["M", 1e6], ["k", 1e3], ["", 1]]);
const rate = (n, unit) => withPrefix(n, unit, [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3], ["", 1]]);
const percent = (part) => (part > 0 && part < 5e-4 ? "< 0.1 %" : `${(100 * part).toLocaleString("en", { maximumFractionDigits: 1 })} %`);
const counted = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
const whole = (n) => n.toLocaleString("en");
const last = (path) => path.split(/[\\/]/).pop();
const clamp = (low, value, high) => Math.max(low, Math.min(high, value));
