"use strict";
// The walk through the six steps, and the sum behind each cell, term by term.

/** What is computed one after the other: which array, of which step, from which others. */
function walk(step) {
  const moments = [], add = (number, output, code, parts) => moments.push({ step: number, output, code, parts });
  const bias = (l) => (net.biases[l - 1] ? ["+", `b${l}`] : []);
  for (let l = 1; l <= L; l++) {
    add(1, `z${l}`, net.biases[l - 1] ? "a_prev @ W.T + b" : "a_prev @ W.T", [`a${l - 1}`, "@ᵀ", `W${l}`, ...bias(l)]);
    add(1, `a${l}`, "σ(z)", ["σ of", `z${l}`]);
  }
  add(1, "cost", "the mean over the examples", ["the cost of", `a${L}`, "and", "y"]);
  const cancels = ["from", `a${L}`, "and", "y"], mixes = ["slope", "through", `a${L}`];
  add(2, `delta${L}`, "cost_gradient * sigma_prime",
    net.slopeIsDelta ? cancels : net.mixesOutputs ? mixes : ["slope", "⊙", `prime${L}`]);
  for (let l = L; l >= 1; l--) {
    if (l < L) add(3, `delta${l}`, "(delta_next @ W_next) * sigma_prime", [`delta${l + 1}`, "@", `W${l + 1}`, "⊙", `prime${l}`]);
    add(4, `dW${l}`, "delta.T @ a_prev", [`delta${l}`, "ᵀ@", `a${l - 1}`, ...(net.penalty ? ["+ l2 ·", `W${l}`] : [])]);
    if (net.biases[l - 1]) {
      add(5, `db${l}`, "delta.sum(axis=0)", ["Σ over the examples of", `delta${l}`,
        ...(net.penalty && net.penaltyOnBiases ? ["+ l2 ·", `b${l}`] : [])]);
    }
  }
  if (step.learningRate === null) return moments;
  for (let l = 1; l <= L; l++) {
    add(6, `W${l}after`, "W - learning_rate * dW", [`W${l}`, "− η ·", `dW${l}`]);
    if (net.biases[l - 1]) add(6, `b${l}after`, "b - learning_rate * db", [`b${l}`, "− η ·", `db${l}`]);
  }
  return moments;
}

/** The equation of a moment with its layers in place. */
function equationOf(moment) {
  const { output } = moment, l = Number(output.match(/\d+/)?.[0] ?? L), is = `${symbol(output)} = `;
  const W = `W${raised(l)}`, b = `b${raised(l)}`;
  const of = {
    z: `${W} a${raised(l - 1)}${net.biases[l - 1] ? ` + ${b}` : ""}`,
    a: `σ(z${raised(l)}), σ is ${net.activations[l - 1]}`,
    cost: `${net.cost} of a${raised(L)} and y`,
    delta: l === L ? `∇ₐC ⊙ σ′(z${raised(l)})` : `(W${raised(l + 1)})ᵀ δ${raised(l + 1)} ⊙ σ′(z${raised(l)})`,
    dW: `δ${raised(l)} (a${raised(l - 1)})ᵀ${net.penalty ? ` + l2 · ${W}` : ""}`,
    db: `δ${raised(l)}${net.penalty && net.penaltyOnBiases ? ` + l2 · ${b}` : ""}`,
  };
  const name = output.match(/^[a-zA-Z]+?(?=\d|$)/)[0];
  if (moment.step === 6) return name === "W" ? `${W} ← ${W} − η ∂C/∂${W}` : `${b} ← ${b} − η ∂C/∂${b}`;
  return is + of[name];
}

/** The equation's name: "BP2". */
const ruleOf = (moment) => ["", "Forward", "BP1", "BP2", "BP4", "BP3", "Update"][moment.step];

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/**
 * What a cell of a moment's result is made of.
 * terms: each a product of cells, as [name, i, j], with a factor; times: the cells of the Hadamard
 * factor; scale: what the whole sum is multiplied by; plus: what is added after; words: where it is
 * no sum; hidden: how many terms are not shown.
 */
function madeOf(step, moment, i, j) {
  const { output } = moment, l = Number(output.match(/\d+/)?.[0] ?? L);
  const name = output.match(/^[a-zA-Z]+?(?=\d|$)/)[0];
  const over = (axis, term) => ({
    terms: [...shownOf(axis, step).keys()].map(term),
    hidden: countOf(axis, step) - shownOf(axis, step).length,
  });
  const one = (...cells) => ({ cells, factor: 1 });
  const penalty = (cell) => (net.penalty ? [{ cells: [cell], factor: net.penalty }] : []);
  const row = (name) => [...Array(matrix(step, name).columns).keys()].map((k) => [name, i, k]);
  if (moment.step === 6) {
    const gradient = output.startsWith("W") ? `dW${l}` : `db${l}`;
    return { terms: [one([output.replace("after", ""), i, j]), { cells: [[gradient, i, j]], factor: -step.learningRate }] };
  }
  switch (name) {
    case "z": return {
      ...over(l - 1, (k) => one([`a${l - 1}`, i, k], [`W${l}`, j, k])),
      plus: net.biases[l - 1] ? [one([`b${l}`, 0, j])] : [],
    };
    case "a":
      if (l === 0) return { terms: [], words: "an input" };
      return { terms: [], lit: net.activations[l - 1] === "softmax" ? row(`z${l}`) : [[`z${l}`, i, j]],
        words: net.activations[l - 1] === "softmax" ? "eᶻ over the sum of eᶻ of the whole row" :
          `${net.activations[l - 1]}(${written(at(matrix(step, `z${l}`), i, j))})` };
    case "cost": return { terms: [], words: "the mean of what each example costs" };
    case "delta":
      if (l < L) return {
        ...over(l + 1, (k) => one([`delta${l + 1}`, i, k], [`W${l + 1}`, k, j])), times: [`prime${l}`, i, j],
      };
      if (net.slopeIsDelta) {
        return ["cross_entropy", "binary_cross_entropy"].includes(net.cost)
          ? { terms: [one([`a${L}`, i, j]), { cells: [["y", i, j]], factor: -1 }], scale: net.perExample,
            words: "∇ₐC ⊙ σ′ comes to (a − y)/m here, for the two cancel" }
          : { terms: [], lit: [[`a${L}`, i, j], ["y", i, j]], words: `∇ₐC ⊙ σ′ is one formula of a and y for ${net.cost}` };
      }
      if (!net.mixesOutputs) return { terms: [one(["slope", i, j])], times: [`prime${L}`, i, j] };
      return over(L, (k) => {
        const a = matrix(step, `a${L}`);
        return { cells: [["slope", i, k]], factor: at(a, i, j) * ((k === j) - at(a, i, k)), lit: [[`a${L}`, i, k]] };
      });
    case "dW": return {
      ...over(-1, (k) => one([`delta${l}`, k, i], [`a${l - 1}`, k, j])),
      scale: net.collected, plus: penalty([`W${l}`, i, j]),
    };
    default: return {
      ...over(-1, (k) => one([`delta${l}`, k, j])),
      scale: net.collected, plus: net.penaltyOnBiases ? penalty([`b${l}`, 0, j]) : [],
    };
  }
}

/** The number that a term comes to. */
const product = (step, term) =>
  term.cells.reduce((total, [name, i, j]) => total * at(matrix(step, name), i, j), term.factor);

/** What the shown terms add up to, and what those that are not shown must add. */
function addedUp(step, made, expected) {
  const factor = (made.scale ?? 1) * (made.times ? at(matrix(step, made.times[0]), made.times[1], made.times[2]) : 1);
  const inner = sum(made.terms.map((term) => product(step, term)));
  const after = sum((made.plus ?? []).map((term) => product(step, term)));
  const hidden = made.hidden && factor ? (expected - after) / factor - inner : 0;
  return { inner, hidden, total: (inner + hidden) * factor + after };
}
