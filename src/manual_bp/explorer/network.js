"use strict";
// The network drawn: neurons by layer, weights by colour and width; an input that is a picture as one.

const MOST_DRAWN = 16, WIDTH = 420, HEIGHT = 340;

/** Which of the shown neurons of a layer are drawn, and where: [index among the shown, x, y, radius]. */
function placesOf(l) {
  const n = net.neurons[l].length, whole = n === net.sizes[l];
  if (l === 0 && run.picture && whole) {
    const [rows, columns] = run.picture, side = Math.min(17, 150 / Math.max(rows, columns));
    return [...Array(n).keys()].map((k) => [k, 12 + side * (k % columns + 0.5),
      HEIGHT / 2 + side * (Math.floor(k / columns) + 0.5 - rows / 2), side / 2 - 0.5]);
  }
  const drawn = n <= MOST_DRAWN ? [...Array(n).keys()]
    : [...new Set([...Array(MOST_DRAWN).keys()].map((k) => Math.round(k * (n - 1) / (MOST_DRAWN - 1))))];
  const left = run.picture && net.neurons[0].length === net.sizes[0] ? 150 + 105 / L : 24;
  const x = run.picture && l && left > 24 ? left + (l - 1) * (WIDTH - 30 - left) / Math.max(1, L - 1) + (L === 1 ? 60 : 40 / L)
    : 24 + l * (WIDTH - 48) / L;
  const gap = Math.min(38, (HEIGHT - 50) / drawn.length);
  return drawn.map((k, row) => [k, Math.min(x, WIDTH - 24), HEIGHT / 2 + gap * (row - (drawn.length - 1) / 2), Math.min(11, gap * 0.36, (WIDTH - 48) / L / 3)]);
}

/** The drawing for one example at one moment. */
function drawing(step, example, moment) {
  const layers = net.sizes.map((_, l) => placesOf(l)), lines = [], neurons = [];
  const backward = moment.step > 1;
  for (let l = 1; l <= L; l++) {
    const M = matrix(step, moment.output === `dW${l}` ? `dW${l}` : `W${l}`), most = largest(M) || 1;
    for (const [k, x0, y0, r0] of layers[l - 1]) for (const [j, x1, y1, r1] of layers[l]) {
      const v = at(M, j, k), size = Number.isFinite(v) ? Math.abs(v) / most : 1;
      if (size < 0.04 && layers[l - 1].length > MOST_DRAWN) continue;
      lines.push(make("line", { x1: x0 + r0, y1: y0, x2: x1 - r1, y2: y1, class: v < 0 ? "negative" : "positive",
        "stroke-width": (0.3 + 2.4 * size).toFixed(2), "stroke-opacity": (0.12 + 0.7 * size).toFixed(2), "data-edge": `${l} ${j} ${k}` }));
    }
  }
  layers.forEach((places, l) => {
    const A = matrix(step, `a${l}`), D = l ? matrix(step, `delta${l}`) : null;
    for (const [k, x, y, r] of places) {
      const a = at(A, example, k), fill = largest(A) ? Math.abs(a) / largest(A) : 0;
      const label = `${labelOf(l, k, step)}: a ${written(a)}${D ? `, δ ${written(at(D, example, k))}` : ""}`;
      const circle = { cx: x, cy: y, r, class: `neuron ${a < 0 ? "negative" : "positive"}`, style: `--v:${Math.min(1, fill || 0).toFixed(3)}` };
      const pixel = l === 0 && places.length > MOST_DRAWN;
      const shape = pixel ? make("rect", { ...circle, x: x - r, y: y - r, width: 2 * r, height: 2 * r, cx: null, cy: null, r: null }) : make("circle", circle);
      const ring = D && backward ? make("circle", { cx: x, cy: y, r: r + 2.5, class: `ring ${at(D, example, k) < 0 ? "negative" : "positive"}`,
        "stroke-opacity": (largest(D) ? Math.min(1, 0.15 + Math.abs(at(D, example, k)) / largest(D)) : 0).toFixed(2) }) : null;
      neurons.push(make("g", { role: "button", tabindex: "-1", "aria-label": label, "data-neuron": `${l} ${k}` }, ring, shape));
    }
  });
  const middle = (places) => Math.min(WIDTH - 34, Math.max(34, (places[0][1] + places.at(-1)[1]) / 2));
  const names = layers.map((places, l) => make("text", { x: L > 8 ? places[0][1] : middle(places), y: HEIGHT - 6, "text-anchor": "middle" },
    places.length < net.sizes[l] ? `${places.length} of ${net.sizes[l]}` : String(net.sizes[l])));
  return make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": "the network's neurons; arrow keys go from one to the next" },
    make("g", { "aria-hidden": "true" }, lines), neurons, make("g", { "aria-hidden": "true" }, names));
}

/** The neurons that a cell stands for, as [layer, index], and the weight, as [l, j, k]. */
function neuronsOf([name, i, j]) {
  const l = Number(name.match(/\d+/)?.[0] ?? L);
  if (/^d?W/.test(name)) return { neurons: [[l, i], [l - 1, j]], edge: [l, i, j] };
  return { neurons: name === "cost" ? [] : [[l, j]], edge: null };
}
