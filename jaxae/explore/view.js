/* The current code, which the map and the panels change, and the pictures of it. */

const sheet = new Image();
sheet.src = content.sprites.sheet;

/* Paints a decoded image on a canvas; channels that are neither gray nor RGB are side by side. */
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

/* Paints a test image on a canvas. */
function paintImage(canvas, index) {
  const { width, height, columns } = content.sprites;
  [canvas.width, canvas.height] = [width, height];
  const left = index % columns * width, top = Math.floor(index / columns) * height;
  canvas.getContext("2d").drawImage(sheet, left, top, width, height, 0, 0, width, height);
}

/* Returns a button that holds a canvas and calls `choose` on a click. */
function pictureButton(text, choose) {
  const button = document.createElement("button"), canvas = document.createElement("canvas");
  button.type = "button";
  button.setAttribute("aria-label", text);
  button.append(canvas);
  button.addEventListener("click", choose);
  return { button, canvas };
}

const classOf = index => content.labels === null ? "" : content.classNames[content.labels[index]];

function nameOf(index) {
  const image = `test image ${content.numbers[index]}`;
  return content.labels === null ? image : `${classOf(index)}, ${image}`;
}

/* Presses one of some buttons, and releases the others. */
function press(buttons, pressed) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button === pressed));
}

const state = {
  code: codeOf(0),
  label: content.labels?.[0] ?? 0,  // that a conditional network decodes with
  chosen: 0,  // the test image whose code it is, or null
  base: 0,  // the test image that was chosen last
  free: codeOf(0),  // the code before its numbers were settled to entries
  aim: null,  // the place on the map that the code was made for, or null
  map: 0,
};
const listeners = [];  // called after the code or the label has changed

/* Changes the current code. */
function setCode(code, { chosen = null, label = state.label, aim = null, free = code } = {}) {
  Object.assign(state, { code: Float32Array.from(code), label, chosen, aim, free });
  if (chosen !== null) state.base = chosen;
  $("#chosen").hidden = chosen === null;
  $("#reset").disabled = chosen !== null;
  if (chosen !== null) {
    paintImage($("#original"), chosen);
    $("#chosen figcaption").textContent = nameOf(chosen);
  }
  for (const listen of listeners) listen();
  decodeCurrent();
}

/* Changes the current code to that of a test image. */
function choose(index) {
  setCode(codeOf(index), { chosen: index, label: content.labels?.[index] ?? state.label });
}

const decodeCurrent = latest(async () => {
  const { code } = state, { result, milliseconds } = await ask("decode", code);
  paint($("#decoded"), result);
  Object.assign(state, { decoded: result, shown: code });
  const [[, distance]] = nearestCodes(code, 1);
  const usual = content.distance
    ? ` Median distance between neighboring test codes: ${content.distance.toPrecision(3)}.` : "";
  $("#status").textContent = `Decoded in ${milliseconds.toFixed(1)} ms. Distance to the nearest ` +
    `test code: ${distance.toPrecision(3)}.${usual}`;
});

/* Whether the picture on show is that of the current code. */
const isDecoded = () => state.shown === state.code;

/* The buttons below the picture. */

$("#reset").addEventListener("click", () => choose(state.base));

$("#copy").addEventListener("click", async event => {
  const text = JSON.stringify([nested(Array.from(state.code), content.codeShape)]);
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // a page from a file may lack the clipboard
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  event.target.textContent = "Copied: paste it into run.decode(…)";
  setTimeout(() => { event.target.textContent = "Copy this code"; }, 2500);
});

/* Returns flat numbers as nested lists of a shape. */
function nested(numbers, [first, ...rest]) {
  if (!rest.length) return numbers;
  const size = numbers.length / first;
  return Array.from({ length: first }, (_, n) =>
    nested(numbers.slice(n * size, (n + 1) * size), rest));
}

const priors = content.priors.map(prior => ({ ...prior, codes: halves(prior.codes), next: 0 }));
for (const button of $$("[data-prior]")) {
  button.addEventListener("click", () => {
    const prior = priors[Number(button.dataset.prior)];
    const start = prior.next++ % (prior.codes.length / SIZE) * SIZE;
    setCode(prior.codes.slice(start, start + SIZE));
    $("#prior").textContent = `A new code: one of ${prior.text}.`;
  });
}

$("#class")?.addEventListener("change", event => {
  setCode(state.code, { label: Number(event.target.value) });
  if (!$("#own").hidden) encodeDrawing();
});
if ($("#class")) listeners.push(() => { $("#class").value = state.label; });

/* Tabs, of which the arrow keys choose the next. */

const tabs = $$("[role=tab]");

function showTab(tab) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
  stopPicking();
  stopPlaying();
  markMap();
}

tabs.forEach((tab, number) => {
  tab.addEventListener("click", () => showTab(tab));
  tab.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs.at((number + step) % tabs.length);
    showTab(next);
    next.focus();
  });
});
