/* The page: a current code, which the map, the panels and the keyboard change, decoded by a worker
   as it changes. */

const $ = selector => document.querySelector(selector);
const $$ = selector => [...document.querySelectorAll(selector)];

const content = JSON.parse($("#content").textContent);
const [HEIGHT, WIDTH, CHANNELS] = content.shape;
const SIZE = content.codeShape.reduce((a, b) => a * b, 1);
const COUNT = content.numbers.length;
const QUANTIZED = content.quantizer !== null;

/* Arrays that the page holds as base64. */
function bytesOf(text) {
  return Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
}
const singles = text => text === null ? null : new Float32Array(bytesOf(text).buffer);

function halves(text) {
  const bits = new Uint16Array(bytesOf(text).buffer);
  return Float32Array.from(bits, bit => {
    const exponent = bit >> 10 & 31, fraction = bit & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    return bit >> 15 ? -size : size;
  });
}

const codes = halves(content.codes);
const maps = content.maps.map(map => ({
  ...map,
  points: singles(map.points),
  components: singles(map.components),
  mean: singles(map.mean),
}));
const priors = content.priors.map(prior => ({ ...prior, codes: halves(prior.codes) }));
const classMeans = singles(content.classMeans);
const codeOf = index => codes.slice(index * SIZE, (index + 1) * SIZE);

/* Quantized codes: groups of numbers, each one of a codebook's entries. */

const codebook = QUANTIZED
  ? { ...content.quantizer, vectors: singles(content.quantizer.vectors) } : null;

/* Returns the entry nearest to a group of numbers, and the numbers of an entry. */
const ENTRIES = {
  vq: {
    entryOf(numbers) {
      const { vectors, size } = codebook;
      let best = 0, least = Infinity;
      for (let entry = 0; entry < size; entry++) {
        const distance = numbers.reduce(
          (sum, x, n) => sum + (x - vectors[entry * numbers.length + n]) ** 2, 0);
        if (distance < least) [best, least] = [entry, distance];
      }
      return best;
    },
    numbersOf(entry) {
      const { vectors, groupSize } = codebook;
      return vectors.slice(entry * groupSize, (entry + 1) * groupSize);
    },
  },
  fsq: {
    entryOf(numbers) {
      let entry = 0, place = 1;
      codebook.levels.forEach((levels, n) => {
        const half = Math.floor(levels / 2), digit = Math.round(numbers[n] * half + half);
        entry += Math.min(Math.max(digit, 0), levels - 1) * place;
        place *= levels;
      });
      return entry;
    },
    numbersOf(entry) {
      let rest = entry;
      return codebook.levels.map(levels => {
        const half = Math.floor(levels / 2), digit = rest % levels;
        rest = Math.floor(rest / levels);
        return (digit - half) / half;
      });
    },
  },
};

/* Returns the code that is nearest to some numbers: of a network that quantizes, its entries. */
function settle(numbers) {
  const code = Float32Array.from(numbers);
  if (!QUANTIZED) return code;
  const { kind, groupSize } = codebook, { entryOf, numbersOf } = ENTRIES[kind];
  for (let start = 0; start < SIZE; start += groupSize) {
    code.set(numbersOf(entryOf(code.subarray(start, start + groupSize))), start);
  }
  return code;
}

/* The network, in a worker, so that the page stays responsive. */

const source = new Blob([$("#worker").textContent], { type: "text/javascript" });
const worker = new Worker(URL.createObjectURL(source));
const answers = new Map();
worker.postMessage({ methods: content.methods, weights: content.weights });
worker.onmessage = ({ data }) => {
  answers.get(data.id)(data);
  answers.delete(data.id);
};
let asked = 0;

/* Returns a promise of {result, milliseconds} of a method of the network. */
function ask(method, value, label = state.label) {
  return new Promise(resolve => {
    answers.set(++asked, resolve);
    worker.postMessage({ id: asked, method, value, label });
  });
}

/* Returns a function that keeps only the last of the calls made while one is in progress. */
function latest(act) {
  let busy = false, waiting = null;
  return async function run(...given) {
    if (busy) {
      waiting = given;
      return;
    }
    busy = true;
    try {
      await act(...given);
    } finally {
      busy = false;
    }
    if (waiting) {
      const next = waiting;
      waiting = null;
      await run(...next);
    }
  };
}

/* Pictures. */

/* Draws decoded numbers, of the data's range, on a canvas; other channels than 1 or 3 side by
   side. */
function paint(canvas, numbers) {
  const [low, high] = content.range, colored = CHANNELS === 3, planes = colored ? 1 : CHANNELS;
  [canvas.width, canvas.height] = [WIDTH * planes, HEIGHT];
  const pixels = new ImageData(canvas.width, HEIGHT);
  for (let row = 0; row < HEIGHT; row++) {
    for (let column = 0; column < canvas.width; column++) {
      const plane = Math.floor(column / WIDTH);
      const from = (row * WIDTH + column % WIDTH) * CHANNELS + plane;
      const to = 4 * (row * canvas.width + column);
      for (let c = 0; c < 3; c++) {
        pixels.data[to + c] = 255 * (numbers[from + (colored ? c : 0)] - low) / (high - low);
      }
      pixels.data[to + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

const sheet = new Image();
sheet.src = content.sprites.sheet;

/* Draws a test image on a canvas. */
function paintImage(canvas, index) {
  const { width, height, columns } = content.sprites;
  [canvas.width, canvas.height] = [width, height];
  const left = index % columns * width, top = Math.floor(index / columns) * height;
  canvas.getContext("2d").drawImage(sheet, left, top, width, height, 0, 0, width, height);
}

/* Returns a button with a picture of its own, which `choose` is called for. */
function pictureButton(text, choose) {
  const button = document.createElement("button"), canvas = document.createElement("canvas");
  button.type = "button";
  button.setAttribute("aria-label", text);
  button.append(canvas);
  button.addEventListener("click", choose);
  return { button, canvas };
}

function nameOf(index) {
  const label = content.labels?.[index];
  const name = label === undefined ? "" : `${content.classNames[label]}, `;
  return `${name}test image ${content.numbers[index]}`;
}

/* The current code. */

const state = { code: codeOf(0), label: content.labels?.[0] ?? 0, chosen: 0, map: 0 };
const listeners = [];  // called after the code has changed

/* Changes the current code; `chosen` is the test image whose code it is, or null. */
function setCode(code, { chosen = null, label = state.label } = {}) {
  Object.assign(state, { code: Float32Array.from(code), label, chosen });
  if (chosen !== null) state.base = chosen;
  showCode();
  for (const listen of listeners) listen();
}

function choose(index) {
  setCode(codeOf(index), { chosen: index, label: content.labels?.[index] ?? state.label });
}

const decodeCurrent = latest(async () => {
  const { result, milliseconds } = await ask("decode", state.code);
  paint($("#decoded"), result);
  state.decoded = result;
  const [, distance] = nearestCodes(state.code, 1)[0];
  $("#status").textContent = `Decoded in ${milliseconds.toFixed(1)} ms. Distance to the nearest ` +
    `code of a test image: ${distance.toPrecision(3)}; between neighbors, ` +
    `${content.distance.toPrecision(3)} is usual.`;
});

function showCode() {
  $("#chosen").hidden = state.chosen === null;
  if (state.chosen !== null) {
    paintImage($("#original"), state.chosen);
    $("#chosen figcaption").textContent = nameOf(state.chosen);
  }
  markMap();
  decodeCurrent();
}

/* Returns the test images with the nearest codes, each with its distance, the nearest first. */
function nearestCodes(code, count) {
  const distances = new Float64Array(COUNT);
  for (let index = 0, at = 0; index < COUNT; index++) {
    for (let n = 0; n < SIZE; n++, at++) distances[index] += (codes[at] - code[n]) ** 2;
  }
  if (count === 1) {
    let best = 0;
    for (let index = 1; index < COUNT; index++) if (distances[index] < distances[best]) best = index;
    return [[best, Math.sqrt(distances[best])]];
  }
  const order = [...distances.keys()].sort((a, b) => distances[a] - distances[b]);
  return order.slice(0, count).map(index => [index, Math.sqrt(distances[index])]);
}

/* The map. */

const plane = new PlaneMap($("#plane"), { labels: content.labels, colors: content.colors });

/* Returns where a code lies on the current map. */
function placeOf(code) {
  const map = maps[state.map];
  if (map.components) {
    const place = [0, 0];
    for (let n = 0; n < SIZE; n++) {
      for (let axis = 0; axis < 2; axis++) {
        place[axis] += (code[n] - map.mean[n]) * map.components[axis * SIZE + n];
      }
    }
    return place;
  }
  return weightedMean(nearestCodes(code, 5), index => map.points.slice(2 * index, 2 * index + 2));
}

/* Returns the mean of what images have, with more weight for the nearer of [index, distance]. */
function weightedMean(near, numbersOf) {
  let total = 0, sum = null;
  for (const [index, distance] of near) {
    const weight = 1 / (distance ** 2 + 1e-9), numbers = numbersOf(index);
    total += weight;
    sum = Array.from(numbers, (x, n) => (sum ? sum[n] : 0) + weight * x);
  }
  return sum.map(x => x / total);
}

/* Returns the current code, moved in the plane to a place; its other directions stay. */
function codeAt(place) {
  const map = maps[state.map];
  if (map.components) {
    const from = placeOf(state.code), [right, up] = [place[0] - from[0], place[1] - from[1]];
    return state.code.map((x, n) =>
      x + right * map.components[n] + up * map.components[SIZE + n]);
  }
  const near = Array.from({ length: COUNT }, (_, index) => [index,
    Math.hypot(map.points[2 * index] - place[0], map.points[2 * index + 1] - place[1])]);
  return weightedMean(near.sort((a, b) => a[1] - b[1]).slice(0, 5), codeOf);
}

function markMap() {
  const joined = $("#path").hidden ? [] : ends.flatMap((index, end) =>
    index === null ? [] : [{ place: placeOf(codeOf(index)), text: "12"[end] }]);
  plane.marks = [...joined, { place: placeOf(state.code), text: "" }];
  plane.redraw();
}

const ends = [null, null];  // test images that a path joins
let picking = null;  // the end that the next click on the map chooses

function clickMap(position) {
  const index = plane.pointAt(position, 12);
  if (picking !== null && index !== null) return pickEnd(index);
  if (index !== null) choose(index); else setCode(settle(codeAt(plane.toPlace(position))));
}

const showTip = latest(async (index, position) => {
  const tip = $("#tip");
  paintImage($("#tip-image"), index);
  const label = content.labels?.[index] ?? state.label;
  paint($("#tip-decoded"), (await ask("decode", codeOf(index), label)).result);
  if (hovered !== index) return;
  tip.querySelector("b").textContent = content.classNames[content.labels?.[index]] ?? "";
  tip.querySelector("span").textContent = `test image ${content.numbers[index]}, and decoded`;
  tip.hidden = false;
  const { clientWidth: width, clientHeight: height } = $("#plane");
  const right = position[0] > width / 2;
  tip.style.left = `${position[0] + (right ? -16 - tip.offsetWidth : 16)}px`;
  tip.style.top = `${Math.max(0, Math.min(height - tip.offsetHeight, position[1] - 40))}px`;
});
let hovered = null;

function hover(position) {
  const index = position === null ? null : plane.pointAt(position, 10);
  if (index === hovered) return;
  hovered = index;
  if (index === null) $("#tip").hidden = true; else showTip(index, position);
}

const pointers = new Map();  // positions of the pointers that are down
let dragged = null;  // "decode" or "pan" once the pointer has moved

function positionOf(event) {
  const { left, top } = $("#plane").getBoundingClientRect();
  return [event.clientX - left - 1, event.clientY - top - 1];
}

$("#plane").addEventListener("pointerdown", event => {
  $("#plane").setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, positionOf(event));
  dragged = null;
  hover(null);
});

$("#plane").addEventListener("pointermove", event => {
  const position = positionOf(event), before = pointers.get(event.pointerId);
  if (before === undefined) return event.pointerType === "touch" ? undefined : hover(position);
  if (pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
    const distance = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
    const middle = [0, 1].map(axis => (position[axis] + other[axis]) / 2);
    plane.pan((position[0] - before[0]) / 2, (position[1] - before[1]) / 2);
    plane.zoom(distance(position) / Math.max(distance(before), 1), middle);
    dragged = "pan";
  } else if (dragged !== null || Math.hypot(position[0] - before[0], position[1] - before[1]) > 3) {
    const pans = event.shiftKey || event.buttons === 4 ||
      $("#drag [aria-pressed=true]").dataset.drag === "pan";
    dragged ??= pans ? "pan" : "decode";
    if (dragged === "pan") plane.pan(position[0] - before[0], position[1] - before[1]);
    else setCode(settle(codeAt(plane.toPlace(position))));
  } else {
    return;
  }
  pointers.set(event.pointerId, position);
});

for (const name of ["pointerup", "pointercancel"]) {
  $("#plane").addEventListener(name, event => {
    if (name === "pointerup" && pointers.size === 1 && dragged === null) {
      clickMap(positionOf(event));
    }
    pointers.delete(event.pointerId);
  });
}
$("#plane").addEventListener("pointerleave", () => hover(null));
$("#plane").addEventListener("wheel", event => {
  event.preventDefault();
  plane.zoom(2 ** (-event.deltaY / 300), positionOf(event));
}, { passive: false });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

$("#plane").addEventListener("keydown", event => {
  const arrow = ARROWS[event.key], at = placeOf(state.code);
  if (arrow && event.shiftKey) {
    plane.pan(-40 * arrow[0], 40 * arrow[1]);
  } else if (arrow) {
    const [right, up] = arrow.map(x => 8 * x / plane.scale);
    setCode(settle(codeAt([at[0] + right, at[1] + up])));
  } else if (event.key === "+" || event.key === "=") {
    plane.zoom(1.3, plane.toScreen(at));
  } else if (event.key === "-") {
    plane.zoom(1 / 1.3, plane.toScreen(at));
  } else if (event.key === "Enter") {
    const index = nearestCodes(state.code, 1)[0][0];
    if (picking !== null) pickEnd(index); else choose(index);
  } else {
    return;
  }
  event.preventDefault();
});

/* Presses one of some buttons, and releases the others. */
function press(buttons, pressed) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button === pressed));
}

function showMap(number) {
  state.map = number;
  plane.show(maps[number]);
  const [across, up] = maps[number].axes;
  $("#axes").textContent = `Across: ${across}. Up: ${up}.`;
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

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  plane.colorShade();
  if (plane.map) plane.redraw();
}
$("#theme").addEventListener("click", () =>
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
