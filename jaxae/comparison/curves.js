"use strict";
const { rows, figures } = JSON.parse(document.querySelector("#content").textContent);
const chart = document.querySelector(".chart"), svg = chart.querySelector("svg");
const tip = chart.querySelector(".tip"), logarithmic = document.querySelector("#logarithmic");
const keys = [...document.querySelectorAll(".key button")];
const choosers = [...document.querySelectorAll("[data-figure]")];
const LEFT = 60, RIGHT = 12, TOP = 32, BOTTOM = 40;  // margins, in CSS pixels
let chosen = 0, drawn = [];  // the figure; its points on the chart

const isPressed = button => button.getAttribute("aria-pressed") === "true";
const press = (button, pressed) => button.setAttribute("aria-pressed", pressed);
const shorten = value => String(Number(value.toPrecision(4)));

function make(name, attributes, text = "") {
  const element = document.createElementNS(svg.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  svg.append(element);
  return element;
}

/* Returns about `count` round numbers from low to high, and those just outside. */
function ticksOf(low, high, count) {
  const rough = (high - low) / count, unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(factor => factor * unit).find(each => each >= rough);
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, n) =>
    Number(((first + n) * step).toPrecision(12)));
}

/* Returns 1, 2 and 5 times powers of ten from low to high, or the powers alone if many. */
function logTicksOf(low, high) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const every = Math.ceil((last - first) / 6), factors = last - first > 2 ? [1] : [1, 2, 5];
  const ticks = [];
  for (let power = first; power <= last; power += every) {
    for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(12)));
  }
  const inside = ticks.filter(tick => tick >= low && tick <= high);
  return inside.length > 1 ? inside : ticksOf(low, high, 4).filter(tick => tick > 0);
}

/* Returns a row's curve as points [epoch, mean, mean - deviation, mean + deviation]. */
function pointsOf({ epochs, means, deviations }, onlyPositive) {
  return epochs
    .map((epoch, n) => [epoch, means[n], means[n] - (deviations?.[n] ?? 0),
      means[n] + (deviations?.[n] ?? 0)])
    .filter(([, mean]) => !onlyPositive || mean > 0);
}

function draw() {
  const width = chart.clientWidth, height = Math.round(Math.max(220, Math.min(400, 0.5 * width)));
  if (!width) return;  // not laid out
  const isLog = isPressed(logarithmic), { name, curves } = figures[chosen];
  const shown = [];
  curves.forEach((curve, row) => {
    const points = pointsOf(curve, isLog);
    keys[row].classList.toggle("absent", points.length === 0);
    if (points.length && isPressed(keys[row])) {
      shown.push({ row, points, hasBand: curve.deviations !== null });
    }
  });
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", `${name} by epoch, of ${shown.length} rows`);
  svg.replaceChildren();
  hide();
  drawn = [];
  if (!shown.length) {
    make("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "Nothing to show");
    return;
  }
  // A run that has diverged leaves the chart, so that the others can be told apart.
  const sound = shown.filter(({ row }) => !rows[row].diverged);
  const measured = (sound.length ? sound : shown).flatMap(({ points }) => points);
  const bounds = measured.flatMap(([, ...values]) => values).filter(y => !isLog || y > 0);
  let [low, high] = [Math.min(...bounds), Math.max(...bounds)];
  const room = high - low <= 1e-4 * Math.abs(high) ? 0.01 * Math.abs(high) || 1 : 0;
  if (room) [low, high] = [low - room, high + room];
  const yTicks = isLog ? logTicksOf(low, high) : ticksOf(low, high, 5);
  if (!isLog) [low, high] = [yTicks[0], yTicks.at(-1)];
  const scale = isLog ? Math.log : y => y, span = scale(high) - scale(low);
  const yOf = y => height - BOTTOM
    - (scale(isLog ? Math.max(y, low) : y) - scale(low)) / span * (height - TOP - BOTTOM);
  const all = shown.flatMap(({ points }) => points.map(([epoch]) => epoch));
  const first = Math.min(...all), last = Math.max(...all);
  const xOf = x => first === last ? (LEFT + width - RIGHT) / 2
    : LEFT + (x - first) / (last - first) * (width - LEFT - RIGHT);
  for (const tick of yTicks.filter(tick => tick >= low && tick <= high)) {
    const y = yOf(tick);
    make("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y });
    make("text", { x: LEFT - 8, y, "text-anchor": "end", "dominant-baseline": "central" },
      Math.abs(tick) >= 1e6 ? tick.toExponential() : shorten(tick));
  }
  const xTicks = first === last ? [first]
    : ticksOf(first, last, width < 480 ? 4 : 8).filter(x => Number.isInteger(x));
  for (const tick of xTicks.filter(tick => tick >= first && tick <= last)) {
    make("text", { x: xOf(tick), y: height - BOTTOM + 18, "text-anchor": "middle" }, tick);
  }
  make("text", { x: width - RIGHT, y: height - 4, "text-anchor": "end" }, "epoch");
  make("text", { class: "title", x: 0, y: 12 }, name);
  make("clipPath", { id: "inside" }).append(make("rect", { x: LEFT - 4, y: TOP - 4,
    width: width - LEFT - RIGHT + 8, height: height - TOP - BOTTOM + 8 }));
  for (const { row, points, hasBand } of shown) {
    const { color, dash } = rows[row];
    const path = places => "M" + places.map(([x, y]) =>
      `${xOf(x).toFixed(1)} ${yOf(y).toFixed(1)}`).join("L");
    if (hasBand) {
      const edges = [...points.map(([x, , , above]) => [x, above]),
        ...points.toReversed().map(([x, , below]) => [x, below])];
      make("path", { class: "band", "data-row": row, d: `${path(edges)}Z`, fill: color,
        "clip-path": "url(#inside)" });
    }
    if (points.length === 1) {  // a path of one point is hardly seen, and its band not at all
      const [[epoch, mean, below, above]] = points;
      if (hasBand) {
        make("line", { class: "bar", "data-row": row, x1: xOf(epoch), x2: xOf(epoch),
          y1: yOf(below), y2: yOf(above), stroke: color, "clip-path": "url(#inside)" });
      }
      make("circle", { class: "point", "data-row": row, cx: xOf(epoch), cy: yOf(mean), r: 4,
        fill: color, "clip-path": "url(#inside)" });
    }
    make("path", { class: "curve", "data-row": row, d: `${path(points)}h0`, stroke: color,
      "stroke-dasharray": dash, "clip-path": "url(#inside)" });
    for (const [x, mean, , above] of points) {
      drawn.push({ row, x: xOf(x), y: yOf(mean), text: `epoch ${x}: ${shorten(mean)}`
        + (hasBand ? ` ± ${shorten(Number((above - mean).toPrecision(2)))}` : "") });
    }
  }
}

/* Shows one row's curve, or all as before for null. */
function emphasize(row) {
  for (const path of svg.querySelectorAll("[data-row]")) {
    path.classList.toggle("apart", row !== null && Number(path.dataset.row) !== row);
  }
}

function hide() {
  tip.hidden = true;
  emphasize(null);
}

function point(event) {
  const box = svg.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top;
  let nearest = null, least = 32 ** 2;
  for (const each of drawn) {
    const distance = (each.x - x) ** 2 + (each.y - y) ** 2;
    if (distance < least) [nearest, least] = [each, distance];
  }
  if (nearest === null) return hide();
  emphasize(nearest.row);
  tip.hidden = false;
  tip.replaceChildren(document.createElement("b"), nearest.text);
  tip.firstChild.textContent = rows[nearest.row].label;
  const beyond = nearest.x > svg.clientWidth / 2;
  tip.style.left = `${Math.max(0, nearest.x + (beyond ? -14 - tip.offsetWidth : 14))}px`;
  tip.style.top = `${Math.max(0, nearest.y - tip.offsetHeight - 8)}px`;
}

function show(isShown) {
  keys.forEach((key, row) => press(key, isShown(row)));
  draw();
}

svg.addEventListener("pointermove", point);
svg.addEventListener("click", point);
svg.addEventListener("pointerleave", hide);
keys.forEach((key, row) => {
  key.addEventListener("click", () => {
    press(key, !isPressed(key));
    draw();
    emphasize(isPressed(key) ? row : null);
  });
  key.addEventListener("dblclick", () => show(other => other === row));
  key.addEventListener("pointerenter", () => isPressed(key) && emphasize(row));
  key.addEventListener("pointerleave", () => emphasize(null));
  key.addEventListener("focus", () => isPressed(key) && emphasize(row));
  key.addEventListener("blur", () => emphasize(null));
});
choosers.forEach((chooser, number) => chooser.addEventListener("click", () => {
  chosen = number;
  choosers.forEach(other => press(other, other === chooser));
  draw();
}));
logarithmic.addEventListener("click", () => {
  press(logarithmic, !isPressed(logarithmic));
  draw();
});
document.querySelector("#all").addEventListener("click", () => show(() => true));
document.querySelector("#none").addEventListener("click", () => show(() => false));
new ResizeObserver(draw).observe(chart);
