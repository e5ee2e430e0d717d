/* Strips of decoded codes: paths between two images, and the arithmetic of class means. */

const FRAMES = 7;

/* Fills a strip with decoded codes, [text, code] each, any of which can be chosen. */
async function showStrip(name, made) {
  const strip = $(`[data-path=${name}]`), shown = [], { label } = state;
  for (const [text, numbers] of made) {
    const code = settle(numbers);
    const { button, canvas } = pictureButton(`${name}, ${text}`, () => setCode(code, { label }));
    paint(canvas, (await ask("decode", code, label)).result);
    shown.push(button);
  }
  strip.replaceChildren(...strip.querySelectorAll("span"), ...shown);
}

/* Paths. */

const ends = [null, null];  // the test images that a path joins
let picking = null;  // the end that the next click on the map chooses

function stopPicking() {
  picking = null;
  press($$("button[data-end]"), null);
  $("#picking").hidden = true;
}

function pickEnd(index) {
  if (index !== null) ends[picking] = index;
  stopPicking();
  showEnds();
}

function showEnds() {
  ends.forEach((index, end) => {
    if (index === null) return;
    const canvas = $(`canvas[data-end="${end}"]`);
    paintImage(canvas, index);
    canvas.setAttribute("aria-label", `${["First", "Second"][end]} image: ${nameOf(index)}`);
  });
  markMap();
  showPaths();
}

for (const button of $$("button[data-end]")) {
  button.addEventListener("click", () => {
    const end = Number(button.dataset.end), again = picking === end;
    stopPicking();
    if (again) return;
    picking = end;
    press($$("button[data-end]"), button);
    $("#picking").hidden = false;
  });
}
document.addEventListener("keydown", event => { if (event.key === "Escape") stopPicking(); });

const showPaths = latest(async () => {
  if (ends.includes(null)) return;
  const [start, stop] = ends.map(codeOf);
  const parts = Array.from({ length: FRAMES }, (_, n) => n / (FRAMES - 1));
  for (const name of ["linear", "spherical"]) {
    await showStrip(name, parts.map(part =>
      [`${Math.round(100 * part)} %`, PATHS[name](start, stop, part)]));
  }
});

let decodedWith = state.label;
listeners.push(() => {
  if (content.classes === null || state.label === decodedWith) return;
  decodedWith = state.label;
  showPaths();
});

/* Changes the current code to that of a place on the path, from 0 to 1. */
function showPlace() {
  if (ends.includes(null)) return;
  const [start, stop] = ends.map(codeOf);
  setCode(settle(PATHS[$("#along").value](start, stop, $("#place").valueAsNumber)));
}

const SECONDS = 3;  // from one end to the other
let began = null;  // when the path began to be played, in milliseconds; null if it is not
let played = null;  // the code that was shown last by playing

function stopPlaying() {
  began = null;
  $("#play").setAttribute("aria-pressed", "false");
  $("#play").textContent = "Play";
}

function play(now) {
  if (began === null) return;
  if (played !== null && state.code !== played) return stopPlaying();  // something else changed it
  const phase = Math.max(0, now - began) / 1000 / SECONDS % 2;
  $("#place").value = phase < 1 ? phase : 2 - phase;
  showPlace();
  played = state.code;
  requestAnimationFrame(play);
}

$("#play").addEventListener("click", () => {
  if (began !== null) return stopPlaying();
  [began, played] = [performance.now(), null];
  $("#play").setAttribute("aria-pressed", "true");
  $("#play").textContent = "Stop";
  requestAnimationFrame(play);
});
$("#place").addEventListener("input", () => {
  stopPlaying();
  showPlace();
});
$("#along").addEventListener("change", showPlace);

/* Arithmetic. */

const classMeans = singles(content.classMeans);
const isKnown = label => Number.isFinite(classMeans[label * SIZE]);

const showArithmetic = latest(async () => {
  const from = Number($("#from").value), to = Number($("#to").value), base = codeOf(state.base);
  const amounts = Array.from({ length: FRAMES }, (_, n) => 1.5 * n / (FRAMES - 1));
  await showStrip("arithmetic", amounts.map(amount => [`${amount.toFixed(2)} times`,
    base.map((x, n) => x + amount * (classMeans[to * SIZE + n] - classMeans[from * SIZE + n]))]));
  $("#start").textContent = `It starts from ${nameOf(state.base)}.`;
});

if ($("#arithmetic")) {
  const known = content.classNames.map((_, label) => label).filter(isKnown);
  for (const option of $$("#from option, #to option")) {
    option.disabled = !isKnown(Number(option.value));
  }
  let shown = null;
  listeners.push(() => {
    if (state.base === shown) return;
    shown = state.base;
    const label = content.labels[state.base];
    $("#from").value = isKnown(label) ? label : known[0];
    showArithmetic();
  });
  $("#to").value = known[1] ?? known[0];
  for (const id of ["from", "to"]) $(`#${id}`).addEventListener("change", showArithmetic);
}
