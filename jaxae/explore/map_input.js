/* The map under the pointer, the fingers and the keyboard. */

const plane = new PlaneMap($("#plane"), { labels: content.labels, colors: content.colors });

const currentPlace = () => state.aim ?? placeOf(state.code, maps[state.map]);

function markMap() {
  const map = maps[state.map];
  const joined = $("#path").hidden ? [] : ends.flatMap((index, end) =>
    index === null ? [] : [{ place: placeOf(codeOf(index), map), text: "12"[end] }]);
  plane.marks = [...joined, { place: currentPlace(), text: "" }];
  plane.redraw();
}
listeners.push(markMap);

/* Changes the current code to that of a place on the map. */
function decodePlace(place) {
  const free = codeAt(place, maps[state.map], state.free);
  setCode(settle(free), { aim: place, free });
}

function clickMap(position) {
  if (picking !== null) return pickEnd(plane.pointAt(position, Infinity));
  const index = plane.pointAt(position, 12);
  if (index !== null) choose(index); else decodePlace(plane.toPlace(position));
}

/* The image under the pointer, and its reconstruction. */

let hovered = null;

function hover(position) {
  const index = position === null ? null : plane.pointAt(position, 10);
  if (index === hovered) return;
  hovered = index;
  if (index === null) $("#tip").hidden = true; else showTip(index, position);
}

const showTip = latest(async (index, position) => {
  const tip = $("#tip"), label = content.labels?.[index] ?? state.label;
  paintImage($("#tip-image"), index);
  paint($("#tip-decoded"), (await ask("decode", codeOf(index), label)).result);
  if (hovered !== index) return;
  tip.querySelector("b").textContent = classOf(index);
  tip.querySelector("span").textContent = `test image ${content.numbers[index]}, and decoded`;
  tip.hidden = false;
  const { clientWidth: width, clientHeight: height } = $("#plane");
  const left = position[0] > width / 2 ? position[0] - 16 - tip.offsetWidth : position[0] + 16;
  tip.style.left = `${Math.max(0, Math.min(width - tip.offsetWidth, left))}px`;
  tip.style.top = `${Math.max(0, Math.min(height - tip.offsetHeight, position[1] - 40))}px`;
});

/* Pointers: one decodes or moves the map, two zoom. */

const pointers = new Map();  // positions of those that are down
let dragged = null;  // "decode" or "pan" once a pointer has moved

function positionOf(event) {
  const { left, top } = $("#plane").getBoundingClientRect();
  return [event.clientX - left - 1, event.clientY - top - 1];
}

$("#plane").addEventListener("pointerdown", event => {
  if (event.button === 2) return;
  $("#plane").setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, positionOf(event));
  dragged = null;
  hover(null);
});

$("#plane").addEventListener("pointermove", event => {
  const position = positionOf(event), before = pointers.get(event.pointerId);
  if (before === undefined) {
    if (event.pointerType !== "touch") hover(position);
    return;
  }
  const [right, down] = [position[0] - before[0], position[1] - before[1]];
  if (pointers.size === 2) {
    const [, other] = [...pointers].find(([id]) => id !== event.pointerId);
    const distance = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
    const middle = [0, 1].map(axis => (position[axis] + other[axis]) / 2);
    plane.pan(right / 2, down / 2);
    plane.zoom(distance(position) / Math.max(distance(before), 1), middle);
    dragged = "pan";
  } else {
    if (dragged === null && Math.hypot(right, down) <= 3) return;
    const pans = event.shiftKey || event.buttons === 4 ||
      $("#drag [aria-pressed=true]").dataset.drag === "pan";
    dragged ??= pans ? "pan" : "decode";
    if (dragged === "pan") plane.pan(right, down); else decodePlace(plane.toPlace(position));
  }
  pointers.set(event.pointerId, position);
});

for (const name of ["pointerup", "pointercancel"]) {
  $("#plane").addEventListener(name, event => {
    const isClick = name === "pointerup" && pointers.size === 1 && dragged === null;
    if (isClick && pointers.has(event.pointerId)) clickMap(positionOf(event));
    pointers.delete(event.pointerId);
  });
}
$("#plane").addEventListener("pointerleave", () => hover(null));
$("#plane").addEventListener("wheel", event => {
  // Otherwise the page could not be scrolled over the map.
  if (!event.ctrlKey && document.activeElement !== $("#plane")) return;
  event.preventDefault();
  plane.zoom(2 ** (-event.deltaY / 300), positionOf(event));
}, { passive: false });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

$("#plane").addEventListener("keydown", event => {
  const arrow = ARROWS[event.key], [x, y] = currentPlace();
  if (arrow && event.shiftKey) {
    plane.pan(-40 * arrow[0], 40 * arrow[1]);
  } else if (arrow) {
    decodePlace([x + 8 * arrow[0] / plane.scale, y + 8 * arrow[1] / plane.scale]);
  } else if (event.key === "+" || event.key === "=") {
    plane.zoom(1.3, plane.toScreen([x, y]));
  } else if (event.key === "-") {
    plane.zoom(1 / 1.3, plane.toScreen([x, y]));
  } else if (event.key === "Enter") {
    const [[index] = [null]] = nearestCodes(state.code, 1, n => plane.isShown(n));
    if (index === null) return;
    if (picking !== null) pickEnd(index); else choose(index);
  } else {
    return;
  }
  event.preventDefault();
});

/* The buttons around the map. */

function showMap(number) {
  state.map = number;
  state.aim = null;
  plane.show(maps[number]);
  const [across, up] = maps[number].axes;
  $("#axes").textContent = SIZE === 1 ? "The code has one number, shown from left to right."
    : `Across: ${across}. Up: ${up}.`;
  $("#distances").parentElement.hidden = maps[number].distances === null;
  markMap();
}

for (const button of $$("#maps button")) {
  button.addEventListener("click", () => {
    press($$("#maps button"), button);
    showMap(Number(button.dataset.map));
  });
}
for (const button of $$("#drag button")) {
  button.addEventListener("click", () => press($$("#drag button"), button));
}
for (const button of $$(".key button")) {
  button.addEventListener("click", () => {
    const label = Number(button.dataset.label);
    plane.only = plane.only === label ? null : label;
    press($$(".key button"), plane.only === null ? null : button);
    plane.redraw();
  });
}
$("#whole").addEventListener("click", () => plane.whole());
$("#distances").addEventListener("change", event => {
  plane.shaded = event.target.checked;
  plane.redraw();
});
