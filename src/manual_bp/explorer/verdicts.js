"use strict";
// The verdicts as bars, the cost over the steps, the examples, and the plane of two inputs.

function fillVerdicts(step, moments) {
  const known = new Set(moments.map((moment) => moment.output));
  byId("verdicts").replaceChildren(
    make("thead", {}, make("tr", {}, ["equation", "gives", "off by, over its bound", "", "verdict"].map((name) =>
      make(name ? "th" : "td", name ? { scope: "col" } : {}, name)))),
    make("tbody", {}, step.rows.map((row) => {
      const ratio = row.ratio === "Infinity" ? Infinity : row.ratio;
      const what = known.has(row.name) ? make("button", { "data-moment": row.name }, row.symbol) : row.symbol;
      const wrong = row.wrong ? `, ${row.wrong.toLocaleString("en")} of ${row.values.toLocaleString("en")} wrong` : "";
      const untold = row.verdict === "untested" && !row.values;
      return make("tr", { class: row.verdict }, make("th", { scope: "row" }, row.equation), make("td", {}, what),
        make("td", {}, untold ? "" : bar(ratio)), make("td", {}, untold ? "" : times(ratio)),
        make("td", {}, make("b", {}, row.verdict), `${wrong}${row.note ? `: ${row.note}` : ""}`));
    })));
  byId("notes").replaceChildren(...step.notes.map((note) => make("li", {}, note)));
}

/** Cost and accuracy of the shown steps, the chosen one marked. */
function curve(chosen) {
  const W = 300, H = 84, steps = run.steps, x = (k) => 6 + k * (W - 12) / Math.max(1, steps.length - 1);
  const costs = steps.map((step) => step.cost), most = Math.max(...costs) || 1;
  const path = (values, top) => values.map((v, k) => `${k ? "L" : "M"}${x(k).toFixed(1)} ${(H - 8 - (H - 16) * v / top).toFixed(1)}`).join("");
  const right = steps.map((step) => step.accuracy), measured = right.every((v) => v !== null);
  return make("svg", { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", role: "img", "aria-label": `over the shown steps the cost goes from ${written(costs[0])} to ${written(costs.at(-1))}` },
    make("line", { x1: x(chosen), x2: x(chosen), y1: 2, y2: H - 4, class: "now" }),
    make("path", { d: path(costs, most), class: "cost" }), measured ? make("path", { d: path(right, 1), class: "accuracy" }) : null);
}

/** A small picture on a canvas, from its bytes. */
function picture(text) {
  const [rows, columns] = run.picture, canvas = make("canvas", { width: columns, height: rows, "aria-hidden": "true" });
  const image = new ImageData(columns, rows);
  bytes(text).forEach((grey, k) => image.data.set([grey, grey, grey, 255], 4 * k));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** A button for each shown example; wrong ones are marked. */
function exampleButtons(step, chosen) {
  const { shown, target, predicted, pictures } = step.examples;
  return shown.map((number, i) => {
    const wrong = target && target[i] !== predicted[i];
    const says = target ? (wrong ? `${target[i]}, taken for ${predicted[i]}` : target[i]) : "";
    return make("button", { "data-example": i, "aria-pressed": String(i === chosen), class: wrong ? "mistaken" : null,
      "aria-label": `example ${number}${says ? `: ${says}` : ""}` },
    pictures ? picture(pictures[i]) : make("b", {}, String(number)), target ? make("span", {}, wrong ? `${target[i]}→${predicted[i]}` : target[i]) : null);
  });
}

/** The class decided in each cell of the plane, and the examples. */
function fillRegions(step, example) {
  const { regions } = step, figure = byId("regions");
  figure.hidden = !regions;
  if (!regions) return;
  const canvas = figure.querySelector("canvas"), side = 200, scale = side / regions.side;
  canvas.width = canvas.height = side;
  const style = getComputedStyle(document.documentElement), paint = canvas.getContext("2d");
  const colours = [1, 2, 3, 4, 5, 6].map((k) => style.getPropertyValue(`--class-${k}`));
  const x = (v) => side * (v - regions.across[0]) / (regions.across[1] - regions.across[0]);
  const y = (v) => side - side * (v - regions.up[0]) / (regions.up[1] - regions.up[0]);
  paint.globalAlpha = 0.35;
  bytes(regions.cells).forEach((k, i) => {
    paint.fillStyle = colours[k % colours.length];
    paint.fillRect(scale * (i % regions.side), side - scale * (Math.floor(i / regions.side) + 1), scale, scale);
  });
  paint.globalAlpha = 1;
  regions.points.forEach(([across, up, k], i) => {
    paint.fillStyle = colours[k % colours.length];
    paint.strokeStyle = style.getPropertyValue("--ink");
    paint.lineWidth = i === step.examples.shown[example] ? 3 : 0.7;
    paint.beginPath();
    paint.arc(x(across), y(up), 4, 0, 2 * Math.PI);
    paint.fill();
    paint.stroke();
  });
  figure.querySelector("figcaption").replaceChildren("What the network decides over the plane of its two inputs, and this step's examples: ",
    ...regions.names.flatMap((name, k) => [make("i", { style: `background: var(--class-${k % colours.length + 1})` }), ` ${name} `]));
}
