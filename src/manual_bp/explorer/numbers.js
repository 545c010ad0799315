"use strict";
// The recorded numbers: arrays by name, and how they are written.

const run = JSON.parse(document.getElementById("numbers").textContent);
const net = run.network, L = net.sizes.length - 1;
const SYMBOLS = { z: "z", a: "a", delta: "δ", dW: "∂C/∂W", db: "∂C/∂b", W: "W", b: "b", prime: "σ′(z" };
const raised = (l) => String(l).replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);

/** What a name in the record stands for: "dW2" is ∂C/∂W². */
function symbol(name) {
  if (name === "cost") return "C";
  if (name === "y") return "y";
  if (name === "slope") return "∇ₐC";
  const [, letters, l, after] = name.match(/^([a-zA-Z]+?)(\d+)(after)?$/);
  return SYMBOLS[letters] + raised(l) + (letters === "prime" ? ")" : "") + (after ? " after" : "");
}

/** The bytes of a text in base64. */
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function unpacked(text) {
  const { buffer } = bytes(text.slice(1));
  return text[0] === "4" ? new Float32Array(buffer) : new Float64Array(buffer);
}

/** How many of an axis are shown, and of how many; which number the i-th of them has. */
const shownOf = (axis, step) => (axis < 0 ? step.examples.shown : net.neurons[axis]);
const countOf = (axis, step) => (axis < 0 ? step.examples.of : net.sizes[axis]);

/** An array of a step as rows and columns; a vector is one row, the cost one cell. */
function matrix(step, name) {
  step.unpacked ??= {};
  if (!step.unpacked[name]) {
    const one = step.arrays[name];
    if (!one) return null;
    const axes = one.axes.length === 2 ? one.axes : [null, one.axes[0] ?? null];
    const [rows, columns] = axes.map((axis) => (axis === null ? 1 : shownOf(axis, step).length));
    const judged = one.difference !== undefined;
    step.unpacked[name] = {
      name, axes, rows, columns, judged,
      given: one.given !== false,
      value: unpacked(one.value),
      difference: judged ? unpacked(one.difference) : null,
      bound: judged ? unpacked(one.bound) : null,
    };
  }
  return step.unpacked[name];
}

const at = (M, i, j) => M.value[i * M.columns + j];

/** What should be there: the value itself where it was not judged. */
function truthAt(M, i, j) {
  const k = i * M.columns + j;
  return M.judged ? M.value[k] - M.difference[k] : M.value[k];
}

/** The difference as a part of its bound; 0 where there is none, infinite where none is allowed. */
function ratioAt(M, i, j) {
  if (!M.judged) return 0;
  const k = i * M.columns + j, off = Math.abs(M.difference[k]);
  return off === 0 ? 0 : Number.isFinite(M.value[k]) ? off / M.bound[k] : Infinity;
}

/** The largest size in an array, by which its colours are measured. */
function largest(M) {
  M.largest ??= M.value.reduce((most, v) => (Number.isFinite(v) ? Math.max(most, Math.abs(v)) : most), 0);
  return M.largest;
}

/** A number with so many digits. */
function written(value, digits = 3) {
  if (!Number.isFinite(value)) return String(value).replace("Infinity", "Inf").replace("-", "−");
  const small = value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5);
  const text = small ? value.toExponential(Math.max(1, digits - 2)) : String(Number(value.toPrecision(digits)));
  return text.replace(/-/g, "−");
}

/** A difference over its bound: few digits, and no exponent that nobody can picture. */
function times(ratio) {
  if (!(ratio < 1e6)) return "over a million";
  return ratio >= 10 ? Math.round(ratio).toLocaleString("en") : written(ratio, 2);
}

/** "example 5" or "neuron 3 of layer 1". */
function labelOf(axis, i, step) {
  if (axis === null) return "";
  const number = shownOf(axis, step)[i];
  return axis < 0 ? `example ${number}` : axis === 0 ? `input ${number}` : `neuron ${number} of layer ${axis}`;
}

/** An element with its attributes and children; text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "circle", "line", "rect", "path", "text"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

const byId = (id) => document.getElementById(id);
