"use strict";
// A matrix as a table of coloured cells, and the sum of one cell.

const WIDEST = 12; // columns whose numbers fit

/** How strong a value is coloured: its size over the largest, or its place from no bound to one. */
function strength(M, i, j, byBound) {
  if (byBound) return Math.min(1, ratioAt(M, i, j));
  return largest(M) ? Math.min(1, Math.abs(at(M, i, j)) / largest(M)) : 0;
}

/** A table; its cells know where they stand, as data-at="name i j". */
function grid(step, name, { result = false, byBound = false, example = 0, sign = "", turned = false } = {}) {
  const M = matrix(step, name), fits = M.columns <= WIDEST;
  const [down, across] = M.axes;
  const head = fits && across !== null ? make("thead", {}, make("tr", {}, make("td"),
    [...Array(M.columns).keys()].map((j) => make("th", { scope: "col", "aria-label": labelOf(across, j, step) },
      String(shownOf(across, step)[j]))))) : null;
  const rows = [...Array(M.rows).keys()].map((i) => make("tr", { class: down === -1 && i === example ? "chosen" : null },
    down === null ? make("td") : make("th", { scope: "row", "aria-label": labelOf(down, i, step) }, String(shownOf(down, step)[i])),
    [...Array(M.columns).keys()].map((j) => {
      const value = at(M, i, j), wrong = ratioAt(M, i, j) > 1;
      const colour = byBound && result ? "off" : value < 0 ? "negative" : "positive";
      return make("td", {
        class: `${colour}${wrong ? " wrong" : ""}${Number.isFinite(value) ? "" : " nonfinite"}`, role: "gridcell",
        style: `--v:${strength(M, i, j, byBound && result).toFixed(3)}`, "data-at": `${name} ${i} ${j}`, tabindex: "-1",
      }, make("span", {}, written(value), wrong ? make("span", { class: "hidden" }, ", wrong") : null));
    })));
  const left = M.axes.filter((axis) => axis !== null && shownOf(axis, step).length < countOf(axis, step));
  const shape = M.axes.filter((axis) => axis !== null).map((axis) => countOf(axis, step)).join(" × ") || "a number";
  const part = left.map((axis) => `${shownOf(axis, step).length} of ${countOf(axis, step)} ${axis < 0 ? "examples" : "neurons"}`);
  const caption = [make("b", {}, turned ? `(${symbol(name)})ᵀ` : symbol(name)), ` ${shape}`,
    part.length ? `, ${part.join(" and ")} shown` : "", M.given ? "" : ", not given: autodiff's"];
  return make("div", { class: `grid${fits ? "" : " small"}${result ? " result" : ""}`, "data-name": name },
    make("span", { class: "sign" }, sign),
    make("div", { class: "wide" }, make("p", { id: `name-${name}` }, caption),
      make("table", { role: "grid", "aria-labelledby": `name-${name}` }, head, make("tbody", {}, rows))));
}

/** A term in words and numbers: a row of the table of a sum. */
function termRow(step, term, index) {
  const factors = term.cells.map(([name, i, j]) => {
    const M = matrix(step, name);
    return make("td", {}, make("button", { "data-go": `${name} ${i} ${j}` }, entry(M, i, j, step)), ` ${written(at(M, i, j))}`);
  });
  const factor = term.factor === 1 ? null : make("td", {}, `× ${written(term.factor)}`);
  const value = product(step, term);
  return make("tr", {}, make("td", {}, index), factors,
    term.cells.length < 2 && factor === null ? make("td") : null, factor, make("td", { class: "product" }, written(value)));
}

/** An entry with its numbers, such as W²[3, 5]. */
function entry(M, i, j, step) {
  const numbers = M.axes.map((axis, k) => (axis === null ? null : shownOf(axis, step)[k ? j : i]));
  const known = numbers.filter((number) => number !== null);
  return symbol(M.name) + (known.length ? `[${known.join(", ")}]` : "");
}

/** The sum of a cell term by term, and its verdict: what stands below the matrices. */
function sumOf(step, moment, i, j) {
  const M = matrix(step, moment.output), made = madeOf(step, moment, i, j);
  const value = at(M, i, j), expected = truthAt(M, i, j), parts = [];
  if (made.words) parts.push(make("p", {}, `${made.words}${made.terms.length ? "." : ` = ${written(expected, 5)}`}`));
  if (made.terms.length) {
    const { inner, hidden, total } = addedUp(step, made, expected), rows = [];
    rows.push(...made.terms.map((term, k) => termRow(step, term, k ? "+" : "")));
    if (made.hidden) rows.push(line("+", `${made.hidden.toLocaleString("en")} more terms, not shown`, hidden));
    const scaled = made.scale !== undefined && made.scale !== 1;
    if (made.times || scaled) rows.push(line("=", "the sum", inner + hidden));
    if (scaled) rows.push(line("×", Math.abs(1 / made.scale) > 1 ? `1/${written(1 / made.scale)}` : "the scale", made.scale));
    if (made.times) {
      const [name, p, q] = made.times, H = matrix(step, name);
      rows.push(line("⊙", make("button", { "data-go": made.times.join(" ") }, `${entry(H, p, q, step)}, the Hadamard factor`), at(H, p, q)));
    }
    rows.push(...(made.plus ?? []).map((term) => termRow(step, term, "+")));
    const name = ratioAt(M, i, j) > 1 ? "what should be here" : entry(M, i, j, step);
    rows.push(line("=", make("b", {}, name), total, "total", 5));
    parts.push(make("div", { class: "terms", tabindex: "0", role: "region", "aria-label": "the terms" },
      make("table", {}, make("caption", { class: "hidden" }, "The sum, term by term"), make("tbody", {}, rows))));
  }
  if (M.judged) parts.push(verdictOf(M, i, j, value, expected));
  return parts;
}

const line = (sign, what, value, kind = "", digits = 3) => make("tr", { class: kind },
  make("td", {}, sign), make("td", { colspan: "2" }, what),
  make("td", { class: "product", "data-value": String(value) }, written(value, digits)));

/** This value and autodiff's, the difference and its bound. */
function verdictOf(M, i, j, value, expected) {
  const k = i * M.columns + j, ratio = ratioAt(M, i, j);
  const pair = (name, text) => [make("dt", {}, name), make("dd", {}, text)];
  const words = ratio > 1 ? `${times(ratio)} times what rounding allows: wrong`
    : `${times(ratio)} of what rounding allows`;
  return make("div", { class: ratio > 1 ? "verdict wrong" : "verdict" },
    make("dl", {}, pair(M.given ? "this value" : "not given", written(value, 8)), pair("autodiff of this step", written(expected, 8)),
      pair("difference", written(M.difference[k], 2)), pair("rounding bound", written(M.bound[k], 2))),
    bar(ratio), make("p", {}, words));
}

/** How far off, on a log scale from 10⁻³ to 10⁶, with a line at 1. */
function bar(ratio) {
  const share = Math.max(0, Math.min(1, (Math.log10(ratio || 1e-9) + 3) / 9));
  return make("div", { class: ratio > 1 ? "bar wrong" : "bar", "aria-hidden": "true" }, make("i", { style: `width:${(100 * share).toFixed(1)}%` }));
}
