/* The panels beside the map: each changes the current code, and shows what it is. */

for (const tab of $$("[role=tab]")) {
  tab.addEventListener("click", () => {
    for (const other of $$("[role=tab]")) {
      other.setAttribute("aria-selected", String(other === tab));
      document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
    }
    markMap();
  });
}

/* Buttons below the decoded image. */

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
  event.target.textContent = "Copied, for decode(...)";
  setTimeout(() => { event.target.textContent = "Copy this code"; }, 1500);
});

/* Returns flat numbers as nested lists of a shape. */
function nested(numbers, shape) {
  const [first, ...rest] = shape;
  if (!rest.length) return numbers;
  const size = numbers.length / first;
  return Array.from({ length: first }, (_, n) => nested(numbers.slice(n * size, (n + 1) * size), rest));
}

for (const button of $$("[data-prior]")) {
  const { codes: drawn, text } = priors[Number(button.dataset.prior)];
  let next = 0;
  button.title = text;
  button.addEventListener("click", () => {
    const count = drawn.length / SIZE, start = next++ % count * SIZE;
    setCode(drawn.slice(start, start + SIZE));
  });
}

$("#class")?.addEventListener("change", event => {
  setCode(state.code, { label: Number(event.target.value) });
});
if ($("#class")) listeners.push(() => { $("#class").value = state.label; });

/* Sliders. */

const sliders = $$("[data-dimension]");
for (const slider of sliders) {
  const { index } = content.dimensions[Number(slider.dataset.dimension)];
  slider.addEventListener("input", () => {
    const code = state.code.slice();
    code[index] = slider.valueAsNumber;
    setCode(code);
  });
}
listeners.push(() => {
  for (const slider of sliders) {
    const { index } = content.dimensions[Number(slider.dataset.dimension)];
    if (document.activeElement !== slider || slider.valueAsNumber !== state.code[index]) {
      slider.value = state.code[index];
    }
    slider.nextElementSibling.textContent = state.code[index].toFixed(2);
  }
});

/* Cells of a quantized code. */

const cells = [];  // buttons
let cell = 0;  // the chosen one

function groupOf(number) {
  const { groupSize } = codebook;
  return state.code.slice(number * groupSize, (number + 1) * groupSize);
}

/* Sets the entry of the chosen cell; entries wrap around. */
function setEntry(entry) {
  const { kind, size, groupSize } = codebook, code = state.code.slice();
  code.set(ENTRIES[kind].numbersOf((entry % size + size) % size), cell * groupSize);
  setCode(code);
}

if (QUANTIZED) {
  const across = content.codeShape.length === 3 ? content.codeShape[1] : 1;
  const perPlace = content.codeShape.at(-1) / codebook.groupSize;
  const grid = $("#cells .grid");
  grid.style.gridTemplateColumns = `repeat(${Math.min(across * perPlace, 32)}, minmax(1.9rem, 1fr))`;
  for (let number = 0; number < SIZE / codebook.groupSize; number++) {
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => {
      cell = number;
      press(cells, button);
      $("#entry").value = button.textContent;
    });
    cells.push(button);
    grid.append(button);
  }
  press(cells, cells[0]);
  listeners.push(() => {
    cells.forEach((button, number) => {
      const entry = ENTRIES[codebook.kind].entryOf(groupOf(number));
      button.textContent = entry;
      button.setAttribute("aria-label", `cell ${number}: entry ${entry}`);
      const hue = Math.round(360 * entry / codebook.size);
      button.style.background = `hsl(${hue} 55% 50% / 0.3)`;
    });
    $("#entry").value = cells[cell].textContent;
  });
  const current = () => Number(cells[cell].textContent);
  $("#previous").addEventListener("click", () => setEntry(current() - 1));
  $("#next").addEventListener("click", () => setEntry(current() + 1));
  $("#entry").addEventListener("change", event => {
    const entry = Math.round(event.target.valueAsNumber);
    if (Number.isFinite(entry)) setEntry(entry); else event.target.value = current();
  });
}

/* Paths between two images. */

const FRAMES = 7;

function pickEnd(index) {
  ends[picking] = index;
  picking = null;
  press($$("button[data-end]"), null);
  showEnds();
}

function showEnds() {
  ends.forEach((index, end) => {
    if (index !== null) paintImage($(`canvas[data-end="${end}"]`), index);
  });
  markMap();
  showPaths();
}

for (const button of $$("button[data-end]")) {
  button.addEventListener("click", () => {
    const end = Number(button.dataset.end);
    picking = picking === end ? null : end;
    press($$("button[data-end]"), picking === null ? null : button);
  });
}

const norm = code => Math.hypot(...code);

/* Returns the code at a part of the way from one code to another. */
const PATHS = {
  linear: (start, stop, part) => start.map((x, n) => x + part * (stop[n] - x)),
  /* Turns by equal angles while the norm changes linearly, as jaxae.latents does. */
  spherical(start, stop, part) {
    const [first, last] = [norm(start), norm(stop)];
    if (SIZE === 1 || !first || !last) return PATHS.linear(start, stop, part);
    const [from, to] = [start.map(x => x / first), stop.map(x => x / last)];
    const angle = 2 * Math.atan2(norm(to.map((x, n) => x - from[n])),
      norm(to.map((x, n) => x + from[n])));
    if (Math.sin(angle) < 1e-6) return PATHS.linear(start, stop, part);
    const [a, b] = [Math.sin((1 - part) * angle), Math.sin(part * angle)].map(
      x => x / Math.sin(angle));
    const length = first + part * (last - first);
    return from.map((x, n) => length * (a * x + b * to[n]));
  },
};

/* Fills a strip with decoded codes, each of which can be chosen. */
async function showStrip(name, made) {
  const strip = $(`[data-path=${name}]`), shown = [];
  for (const [text, code] of made) {
    const kept = settle(code);
    const { button, canvas } = pictureButton(`${name}, ${text}`, () => setCode(kept));
    paint(canvas, (await ask("decode", kept)).result);
    shown.push(button);
  }
  strip.replaceChildren(...strip.querySelectorAll("span"), ...shown);
}

const showPaths = latest(async () => {
  if (ends.includes(null)) return;
  const [start, stop] = ends.map(codeOf);
  for (const name of ["linear", "spherical"]) {
    const parts = Array.from({ length: FRAMES }, (_, n) => n / (FRAMES - 1));
    await showStrip(name, parts.map(part =>
      [`${Math.round(100 * part)} %`, PATHS[name](start, stop, part)]));
  }
});

function showPlace() {
  if (ends.includes(null)) return;
  const [start, stop] = ends.map(codeOf);
  setCode(settle(PATHS[$("#along").value](start, stop, $("#place").valueAsNumber)));
}

const SECONDS = 3;  // from one end to the other
let playing = null;  // when the play began, in milliseconds

function play(now) {
  if (playing === null) return;
  const phase = (now - playing) / 1000 / SECONDS % 2;
  $("#place").value = phase < 1 ? phase : 2 - phase;
  showPlace();
  requestAnimationFrame(play);
}

$("#play").addEventListener("click", event => {
  playing = playing === null && !ends.includes(null) ? performance.now() : null;
  event.target.setAttribute("aria-pressed", String(playing !== null));
  event.target.textContent = playing === null ? "Play" : "Stop";
  if (playing !== null) requestAnimationFrame(play);
});
$("#place").addEventListener("input", showPlace);
$("#along").addEventListener("change", showPlace);

/* Arithmetic of class means. */

const showArithmetic = latest(async () => {
  const from = Number($("#from").value), to = Number($("#to").value), base = codeOf(state.base);
  const amounts = Array.from({ length: FRAMES }, (_, n) => 1.5 * n / (FRAMES - 1));
  await showStrip("arithmetic", amounts.map(amount => [`${amount.toFixed(2)} times`,
    base.map((x, n) => {
      const difference = classMeans[to * SIZE + n] - classMeans[from * SIZE + n];
      return x + (Number.isFinite(difference) ? amount * difference : 0);
    })]));
});

if ($("#arithmetic")) {
  let shown = null;
  listeners.push(() => {
    if (state.base === shown) return;
    shown = state.base;
    $("#from").value = content.labels[state.base];
    showArithmetic();
  });
  $("#to").value = Math.min(1, content.classNames.length - 1);
  for (const id of ["from", "to"]) $(`#${id}`).addEventListener("change", showArithmetic);
}

/* An image of one's own. */

const drawing = $("#drawing");

function clearDrawing() {
  const context = drawing.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, drawing.width, drawing.height);
}

const encodeDrawing = latest(async () => {
  const { data } = readPixels(drawing, 0, 0, WIDTH, HEIGHT), [low, high] = content.range;
  const image = new Float32Array(HEIGHT * WIDTH * CHANNELS);
  for (let pixel = 0; pixel < HEIGHT * WIDTH; pixel++) {
    const rgb = data.subarray(4 * pixel, 4 * pixel + 3);
    const gray = Math.round(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]);
    for (let c = 0; c < CHANNELS; c++) {
      const level = (CHANNELS === 3 ? rgb[c] : gray) / 255;
      image[pixel * CHANNELS + c] = low + level * (high - low);
    }
  }
  const code = (await ask("encode", image)).result;
  setCode(code);
  const near = nearestCodes(code, 5).map(([index]) => {
    const { button, canvas } = pictureButton(nameOf(index), () => choose(index));
    paintImage(canvas, index);
    return button;
  });
  $("[data-path=neighbors]").replaceChildren(...near);
});

/* Draws a picture over the whole drawing, cropped to its proportions. */
async function openPicture(file) {
  if (!file?.type.startsWith("image/")) return;
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    $("#status").textContent = `${file.name} cannot be read as a picture: give a PNG or a JPEG.`;
    return;
  }
  const scale = Math.max(WIDTH / picture.width, HEIGHT / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  const context = drawing.getContext("2d");
  clearDrawing();
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, (WIDTH - width) / 2, (HEIGHT - height) / 2, width, height);
  encodeDrawing();
}

if (drawing) {
  [drawing.width, drawing.height] = [WIDTH, HEIGHT];
  clearDrawing();
  if (CHANNELS !== 3) $("#color").parentElement.hidden = true;
  let before = null;
  const place = event => {
    const { left, top, width, height } = drawing.getBoundingClientRect();
    return [(event.clientX - left) / width * WIDTH, (event.clientY - top) / height * HEIGHT];
  };
  const draw = event => {
    const at = place(event), context = drawing.getContext("2d");
    context.lineWidth = $("#brush").valueAsNumber * Math.max(WIDTH, HEIGHT);
    context.lineCap = "round";
    context.strokeStyle = $("#color").value;
    context.beginPath();
    context.moveTo(...before);
    context.lineTo(at[0] + 0.01, at[1]);
    context.stroke();
    before = at;
    encodeDrawing();
  };
  drawing.addEventListener("pointerdown", event => {
    drawing.setPointerCapture(event.pointerId);
    before = place(event);
    draw(event);
  });
  drawing.addEventListener("pointermove", event => { if (before) draw(event); });
  for (const name of ["pointerup", "pointercancel"]) {
    drawing.addEventListener(name, () => { before = null; });
  }
  $("#clear").addEventListener("click", () => {
    clearDrawing();
    encodeDrawing();
  });
  $("#file").addEventListener("change", event => openPicture(event.target.files[0]));
  document.addEventListener("paste", event => openPicture(event.clipboardData?.files[0]));
  document.addEventListener("dragover", event => event.preventDefault());
  document.addEventListener("drop", event => {
    event.preventDefault();
    document.querySelector("[aria-controls=own]").click();
    openPicture(event.dataTransfer.files[0]);
  });
}

/* The start. */

setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
sheet.decode().then(() => {
  const other = content.labels?.findIndex(label => label !== content.labels[0]) ?? 1;
  [ends[0], ends[1]] = COUNT > 1 ? [0, Math.max(other, 1)] : [0, 0];
  plane.resize();
  showMap(0);
  choose(0);
  showEnds();
  document.documentElement.dataset.ready = "yes";
});

/* For the browser's console: explorer.ask("decode", code) and so on. */
window.explorer = { ask, setCode, state, content, codeOf, plane };
