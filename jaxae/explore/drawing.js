/* An image of one's own: drawn, opened, dropped or pasted. */

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
    const [red, green, blue] = data.subarray(4 * pixel, 4 * pixel + 3);
    const gray = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
    for (let c = 0; c < CHANNELS; c++) {
      const level = (CHANNELS === 3 ? data[4 * pixel + c] : gray) / 255;
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
  if (!file) return;
  showTab($("[aria-controls=own]"));
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

function invertDrawing() {
  const pixels = readPixels(drawing, 0, 0, WIDTH, HEIGHT);
  pixels.data.forEach((level, n) => { if (n % 4 < 3) pixels.data[n] = 255 - level; });
  drawing.getContext("2d").putImageData(pixels, 0, 0);
  encodeDrawing();
}

function startDrawing() {
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
    context.lineTo(at[0] + 0.01, at[1]);  // a line without length would not be drawn
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
  $("#invert").addEventListener("click", invertDrawing);
  $("#file").addEventListener("change", event => {
    openPicture(event.target.files[0]);
    event.target.value = "";  // so that the same file can be chosen again
  });
  document.addEventListener("paste", event => openPicture(event.clipboardData?.files[0]));
  document.addEventListener("dragover", event => event.preventDefault());
  document.addEventListener("drop", event => {
    event.preventDefault();
    openPicture(event.dataTransfer.files[0]);
  });
}

if (drawing) startDrawing();
