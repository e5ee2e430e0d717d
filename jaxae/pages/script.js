"use strict";
const plot = document.querySelector(".plot"), svg = plot.querySelector("svg");
const tip = plot.querySelector(".tip"), sprite = tip.querySelector(".sprite");
const circles = [...svg.querySelectorAll("circle")];
const labels = circles.map(circle => circle.getAttribute("class").slice("class-".length));
const places = circles.map(circle => [circle.cx.baseVal.value, circle.cy.baseVal.value]);
const buttons = [...plot.querySelectorAll("button")];
const names = new Map(buttons.map(button => [button.dataset.label, button.textContent.trim()]));
const ring = document.createElementNS(svg.namespaceURI, "circle");
ring.setAttribute("class", "ring");
ring.setAttribute("r", 6);
let shown = null, only = null;  // the point in the tooltip; the class shown alone

function show(index) {
  shown = index;
  const [x, y] = places[index], columns = Number(svg.dataset.columns);
  ring.setAttribute("cx", x);
  ring.setAttribute("cy", y);
  svg.append(ring);
  tip.hidden = false;
  if (sprite) {
    sprite.style.backgroundPosition =
      `${-(index % columns) * sprite.clientWidth}px ` +
      `${-Math.floor(index / columns) * sprite.clientHeight}px`;
  }
  tip.querySelector("b").textContent = names.get(labels[index]) ?? "";
  tip.querySelector("span").textContent =
    `${svg.dataset.noun} ${circles[index].dataset.number ?? index}`;
  const scale = svg.clientWidth / svg.viewBox.baseVal.width;
  const beyond = x * scale > svg.clientWidth / 2;
  tip.style.left = `${x * scale + (beyond ? -14 - tip.offsetWidth : 14)}px`;
  const lowest = svg.clientHeight - tip.offsetHeight - 4;
  tip.style.top = `${Math.max(4, Math.min(lowest, y * scale - tip.offsetHeight / 2))}px`;
}

function hide() {
  shown = null;
  tip.hidden = true;
  ring.remove();
}

/* Returns the point with the least distance(dx, dy) from x, y; null if all are infinite. */
function closest(x, y, distance) {
  let best = null, least = Infinity;
  places.forEach(([a, b], index) => {
    if (only !== null && labels[index] !== only) return;
    const d = distance(a - x, b - y);
    if (d < least) [best, least] = [index, d];
  });
  return best;
}

function point(event) {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(
    svg.getScreenCTM().inverse());
  const near = closest(at.x, at.y, (dx, dy) => Math.hypot(dx, dy) < 16 ? dx * dx + dy * dy
    : Infinity);
  if (near === null) hide(); else if (near !== shown) show(near);
}

const STEPS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
svg.addEventListener("pointermove", point);
svg.addEventListener("click", point);
svg.addEventListener("pointerleave", hide);
svg.addEventListener("blur", hide);
svg.addEventListener("focus", () => {
  if (shown === null && svg.matches(":focus-visible")) {
    show(closest(svg.viewBox.baseVal.width / 2, svg.viewBox.baseVal.height / 2, Math.hypot));
  }
});
svg.addEventListener("keydown", event => {
  if (event.key === "Escape") return hide();
  const step = STEPS[event.key];
  if (!step || shown === null) return;
  event.preventDefault();
  const next = closest(...places[shown], (dx, dy) => {
    const along = dx * step[0] + dy * step[1], across = Math.abs(dx * step[1] + dy * step[0]);
    return along > 0 && across <= along ? along + across : Infinity;
  });
  if (next !== null) show(next);
});
for (const button of buttons) {
  button.addEventListener("click", () => {
    only = only === button.dataset.label ? null : button.dataset.label;
    for (const other of buttons) {
      other.setAttribute("aria-pressed", other.dataset.label === only);
    }
    circles.forEach((circle, index) =>
      circle.classList.toggle("faint", only !== null && labels[index] !== only));
    hide();
  });
}
