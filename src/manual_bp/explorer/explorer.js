"use strict";
// What is chosen, and the page that follows from it.

const chosen = { step: 0, example: 0, moment: 0, cell: null };
const step = () => run.steps[chosen.step];
let moments = walk(step());
const moment = () => moments[chosen.moment];

/** The cell that a moment opens with: the worst wrong one, or the largest of the chosen example. */
function firstCell() {
  const M = matrix(step(), moment().output);
  let best = 0;
  const rank = (k) => {
    const i = Math.floor(k / M.columns), ratio = ratioAt(M, i, k % M.columns);
    const here = M.axes[0] === -1 && i !== chosen.example ? -1 : Math.abs(M.value[k]) || 0;
    return ratio > 1 ? 1e300 * Math.min(1, ratio / 1e12) : here;
  };
  for (let k = 1; k < M.value.length; k++) if (rank(k) > rank(best)) best = k;
  return [M.name, Math.floor(best / M.columns), best % M.columns];
}

function show({ cell = null, focus = false } = {}) {
  chosen.cell = cell ?? firstCell();
  const M = matrix(step(), chosen.cell[0]);
  if (M.axes[0] === -1) chosen.example = chosen.cell[1];
  showRun();
  showMoment();
  showCell(focus);
}

function showRun() {
  const now = step(), { accuracy, cost, number } = now;
  byId("headline").textContent = now.headline;
  byId("training").hidden = run.steps.length === 1 && cost === null;
  byId("step").max = run.steps.length - 1;
  byId("step").value = chosen.step;
  byId("step").setAttribute("aria-valuetext", `step ${number}`);
  byId("measured").textContent = `${number.toLocaleString("en")}${cost === null ? "" : ` · cost ${written(cost)}`}` +
    (accuracy === null ? "" : ` · accuracy ${(100 * accuracy).toFixed(1)} %`);
  byId("curve").replaceChildren(...(run.steps.length > 1 && run.steps.every((s) => s.cost !== null) ? [curve(chosen.step)] : []));
  byId("curve-of").hidden = !byId("curve").children.length;
  byId("examples").replaceChildren(...exampleButtons(now, chosen.example));
  const { shown, of } = now.examples;
  byId("left-out").textContent = shown.length < of ? `${shown.length} of the batch's ${of.toLocaleString("en")} examples are shown.` : "";
  fillRegions(now, chosen.example);
  fillVerdicts(now, moments);
  byId("findings").hidden = !now.findings.length;
  byId("findings").querySelector("ul").replaceChildren(...now.findings.map(({ place, text }) =>
    make("li", {}, text, " ", moments.some((one) => one.output === place) ? make("button", { "data-moment": place }, "Show me") : null)));
}

function showMoment() {
  const now = step(), here = moment(), wrong = new Set(now.rows.filter((row) => ["disagrees", "nonfinite"].includes(row.verdict)).map((row) => row.name));
  document.querySelectorAll("#six button").forEach((button) => {
    const number = Number(button.dataset.step), has = moments.some((one) => one.step === number);
    button.disabled = !has;
    button.toggleAttribute("aria-current", false);
    if (number === here.step) button.setAttribute("aria-current", "step");
    button.classList.toggle("wrong", moments.some((one) => one.step === number && wrong.has(one.output)));
  });
  byId("moments").replaceChildren(...moments.map((one, k) => make("button", {
    "data-index": k, "aria-current": k === chosen.moment ? "step" : null, class: wrong.has(one.output) ? "wrong" : null,
    "aria-label": symbol(one.output) + (wrong.has(one.output) ? ", wrong" : ""),
  }, one.step === 6 ? `${symbol(one.output.replace("after", ""))}′` : symbol(one.output))));
  const list = byId("moments"), current = list.querySelector("[aria-current]");
  list.scrollTop = current.offsetTop - list.clientHeight / 2;
  byId("now").replaceChildren(make("small", {}, ruleOf(here)), ` ${equationOf(here)}`);
  byId("code").replaceChildren("For a batch, whose examples are rows: ", make("code", {}, here.code));
  const options = { byBound: byId("by-bound").checked, example: chosen.example };
  byId("grids").replaceChildren(...operands(here).map(([sign, part, turned]) => grid(now, part, { ...options, sign, turned })),
    grid(now, here.output, { ...options, sign: "=", result: true }));
  byId("network").replaceChildren(drawing(now, chosen.example, here));
}

/** What goes into a moment: [the sign before it, its name, whether it is transposed]. */
function operands({ parts }) {
  const found = [];
  parts.forEach((part, k) => {
    if (!step().arrays[part]) return;
    const before = k && !step().arrays[parts[k - 1]] ? parts[k - 1] : "";
    found.push([before.replace(/@ᵀ|ᵀ@|@/, "·"), part, before === "@ᵀ" || parts[k + 1] === "ᵀ@"]);
  });
  return found;
}

/** Light the cell, what it was made from, and its neurons; and write its sum. */
function showCell(focus) {
  const [name, i, j] = chosen.cell, here = moment(), own = name === here.output, M = matrix(step(), name);
  const element = ([name, i, j]) => document.querySelector(`#grids [data-at="${name} ${i} ${j}"]`);
  document.querySelectorAll("#grids .here, #grids .from, #grids .with, #network .here, #network .from").forEach((one) => one.classList.remove("here", "from", "with"));
  document.querySelectorAll("#grids [tabindex='0'][data-at], #network [tabindex='0']").forEach((one) => one.setAttribute("tabindex", "-1"));
  document.querySelectorAll("#grids .grid").forEach((one) => one.querySelector("td[data-at]").setAttribute("tabindex", "0"));
  const made = own ? madeOf(step(), here, i, j) : { terms: [] };
  const from = [...made.terms, ...(made.plus ?? [])].flatMap((term) => [...term.cells, ...(term.lit ?? [])]).concat(made.lit ?? []);
  from.forEach((cell) => element(cell)?.classList.add("from"));
  if (made.times) element(made.times)?.classList.add("with");
  const cell = element(chosen.cell);
  cell?.closest("table").querySelectorAll("[tabindex='0']").forEach((one) => one.setAttribute("tabindex", "-1"));
  cell?.classList.add("here");
  cell?.setAttribute("tabindex", "0");
  if (focus) cell?.focus();
  light(chosen.cell, "here");
  from.forEach((one) => light(one, "from"));
  (document.querySelector("#network g.here[data-neuron]") ?? document.querySelector("#network [data-neuron]")).setAttribute("tabindex", "0");
  const where = M.axes.map((axis, k) => labelOf(axis, k ? j : i, step())).filter(Boolean).join(", ");
  byId("cell-title").textContent = `${entry(M, i, j, step())}${where ? `, ${where}` : ""}: ${written(at(M, i, j), 5)}`;
  const maker = moments.findIndex((one) => one.output === name);
  byId("sum").replaceChildren(...(own ? sumOf(step(), here, i, j)
    : [make("p", {}, "It goes into this step. ", maker < 0 ? null : make("button", { "data-make": chosen.cell.join(" ") }, "See how it is made"))]));
}

function light(cell, how) {
  const { neurons, edge } = neuronsOf(cell);
  if (edge) document.querySelector(`#network [data-edge="${edge.join(" ")}"]`)?.classList.add(how);
  else neurons.forEach(([l, k]) => document.querySelector(`#network [data-neuron="${l} ${k}"]`)?.classList.add(how));
  if (edge && how === "here") neurons.forEach(([l, k]) => document.querySelector(`#network [data-neuron="${l} ${k}"]`)?.classList.add("from"));
}

function go(index, options) {
  if (index < 0 || index >= moments.length) return;
  chosen.moment = index;
  show(options);
}

/** A neuron's cell at this moment: of the result if it has one there, or of what goes in. */
function cellOf(l, k) {
  const here = moment(), names = [here.output, ...here.parts.filter((part) => step().arrays[part])];
  const found = names.map((name) => matrix(step(), name)).find((M) => M.axes[1] === l && M.axes[0] !== l + 1);
  if (found) return [found.name, found.axes[0] === -1 ? chosen.example : 0, k];
  const rows = names.map((name) => matrix(step(), name)).find((M) => M.axes.includes(l));
  if (!rows) return null;
  return rows.axes[0] === l ? [rows.name, k, 0] : [rows.name, 0, k];
}

function pick(cell, focus) {
  chosen.cell = cell;
  const M = matrix(step(), cell[0]);
  if (M.axes[0] === -1 && cell[1] !== chosen.example) show({ cell, focus });
  else showCell(focus);
}

const cellAt = (text) => { const [name, i, j] = text.split(" "); return [name, Number(i), Number(j)]; };

document.addEventListener("click", ({ target }) => {
  const near = (selector) => target.closest(selector);
  let one;
  if ((one = near("[data-at]"))) pick(cellAt(one.dataset.at), true);
  else if ((one = near("[data-neuron]"))) {
    const [l, k] = one.dataset.neuron.split(" ").map(Number), cell = cellOf(l, k);
    if (cell) pick(cell, false);
    else go(moments.findIndex((here) => here.output === `a${l}`), { cell: l ? [`a${l}`, chosen.example, k] : null });
    document.querySelector(`#network [data-neuron="${l} ${k}"]`).focus();
  } else if ((one = near("[data-go]"))) pick(cellAt(one.dataset.go), true);
  else if ((one = near("[data-make]"))) {
    const cell = cellAt(one.dataset.make);
    go(moments.findIndex((here) => here.output === cell[0]), { cell, focus: true });
  } else if ((one = near("[data-moment]"))) {
    go(moments.findIndex((here) => here.output === one.dataset.moment), {});
    byId("matrices").scrollIntoView({ block: "start" });
    byId("matrices").focus({ preventScroll: true });
  } else if ((one = near("[data-index]"))) { go(Number(one.dataset.index)); document.querySelector("#moments [aria-current]").focus(); }
  else if ((one = near("#six [data-step]"))) go(moments.findIndex((here) => here.step === Number(one.dataset.step)));
  else if (near("#back")) go(chosen.moment - 1);
  else if (near("#on")) go(chosen.moment + 1);
  else if ((one = near("[data-example]"))) {
    chosen.example = Number(one.dataset.example);
    const M = matrix(step(), chosen.cell[0]);
    show({ cell: M.axes[0] === -1 ? [M.name, chosen.example, chosen.cell[2]] : chosen.cell });
    document.querySelector(`[data-example="${chosen.example}"]`).focus();
  }
});

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

document.addEventListener("keydown", (event) => {
  const { key, target } = event, arrow = ARROWS[key];
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const cell = target.closest("[data-at]"), neuron = target.closest("[data-neuron]");
  if (neuron && (arrow || key === "Enter" || key === " ")) {
    event.preventDefault();
    if (!arrow) { neuron.dispatchEvent(new MouseEvent("click", { bubbles: true })); return; }
    const all = [...document.querySelectorAll("#network [data-neuron]")];
    all[(all.indexOf(neuron) + arrow[0] + arrow[1] + all.length) % all.length].focus();
  } else if (cell && (arrow || key === "Home" || key === "End")) {
    event.preventDefault();
    const [name, i, j] = cellAt(cell.dataset.at), M = matrix(step(), name);
    const next = arrow ? [i + arrow[0], j + arrow[1]] : [i, key === "Home" ? 0 : M.columns - 1];
    if (next[0] >= 0 && next[0] < M.rows && next[1] >= 0 && next[1] < M.columns) pick([name, ...next], true);
  } else if (cell && (key === "Enter" || key === " ")) { event.preventDefault(); pick(cellAt(cell.dataset.at), true); }
  else if ((key === "ArrowLeft" || key === "ArrowRight") && target.type !== "range" && !target.closest(".wide, .terms")) {
    event.preventDefault();
    go(chosen.moment + arrow[1]);
    if (target.closest("#moments")) document.querySelector("#moments [aria-current]").focus();
  }
});

byId("step").addEventListener("input", ({ target }) => {
  const output = moment().output;
  chosen.step = Number(target.value);
  moments = walk(step());
  chosen.moment = Math.max(0, moments.findIndex((one) => one.output === output));
  chosen.example = Math.min(chosen.example, step().examples.shown.length - 1);
  show({ cell: chosen.cell });
});
byId("by-bound").addEventListener("change", () => show({ cell: chosen.cell }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show({ cell: chosen.cell }));

// A page of a mistake opens where the mistake is.
const wrongAt = run.steps.findIndex((one) => one.findings.length);
if (wrongAt >= 0) {
  chosen.step = wrongAt;
  moments = walk(step());
  const places = step().findings.map(({ place }) => place);
  chosen.moment = Math.max(0, moments.findIndex((one) => places.includes(one.output)));
}
show();
