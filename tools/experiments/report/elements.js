// Making elements, and reading the numbers that the page carries.

/** A new element: attributes (a function becomes a listener), then children, which may be text. */
function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(key, value);
    else if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const byId = (id) => document.getElementById(id);

/** Bytes of a base64 text. */
function bytes(text) {
  const characters = atob(text);
  const values = new Uint8Array(characters.length);
  for (let i = 0; i < values.length; ++i) values[i] = characters.charCodeAt(i);
  return values;
}

/** Little-endian float32 of a base64 text. */
const floats = (text) => new Float32Array(bytes(text).buffer);

/** A number as it is read in a sentence; an absent one is a dash. */
function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (value !== 0 && Math.abs(value) < Math.pow(10, -digits)) return value.toExponential(1);
  return value.toLocaleString('en', {maximumFractionDigits: digits, minimumFractionDigits: digits, useGrouping: false});
}

const percent = (fraction, digits = 2) => fraction === null ? '–' : `${number(100 * fraction, digits)} %`;

function median(values) {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
