// Numbers, times and elements. All text goes in as text: names come from a cluster that is not ours.

const NONE = "–";

export function number(value, digits = 1) {
  if (value === null || value === undefined) return NONE;
  const shown = value.toFixed(digits);
  return shown.replace("-", Number(shown) === 0 ? "" : "−");
}

// Whole, or with a decimal where it is not.
export function amount(value) {
  return number(value, Number.isInteger(value) ? 0 : 1);
}

export function signed(value, digits = 1) {
  if (value === null || value === undefined) return NONE;
  const shown = number(Math.abs(value), digits);
  if (Number(shown) === 0) return `±${shown}`;
  return `${value < 0 ? "−" : "+"}${shown}`;
}

export function clock(time) {
  return new Date(time).toLocaleTimeString("en-GB");
}

export function moment(time) {
  const at = new Date(time);
  const today = at.toDateString() === new Date().toDateString();
  return today ? clock(at) : `${at.toLocaleDateString("en-CA")} ${clock(at)}`;
}

export function ago(seconds) {
  if (seconds < 1) return "just now";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}

export function duration(ms) {
  return ms < 90_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

export function text(id, words) {
  const element = document.getElementById(id);
  if (element.textContent !== words) element.textContent = words;
}

// element("li", { class: "a" }, child, "words"); attributes that are null or false are left out.
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== false));
  return made;
}

export function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

export function newest(values) {
  return values.length ? values[values.length - 1] : null;
}
