/* The map of codes on a canvas: it draws points, moves and zooms, and tells which point or place
   is at a position on the screen. Places are in the map's own numbers, y upward. */

const OPACITY = 0.45;  // of the shade at the farthest place

class PlaneMap {
  constructor(canvas, { labels, colors }) {
    this.canvas = canvas;
    this.labels = labels;  // of the points, or null
    this.colors = colors;  // of the labels
    this.only = null;  // the label that is shown alone
    this.shaded = true;
    this.marks = [];  // of {place, text}
    this.waiting = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  /* Shows a map: {points, low, high, distances}; points are a Float32Array of x and y in turn. */
  show(map) {
    this.map = map;
    this.shade = null;
    if (map.distances) {
      const image = new Image();
      image.onload = () => {
        if (this.map !== map) return;
        this.distances = readPixels(image, 0, 0, image.width, image.height);
        this.colorShade();
      };
      image.src = map.distances;
    }
    this.whole();
  }

  /* Draws the distances in the color of the text, the more opaque the farther. */
  colorShade() {
    if (!this.distances || !this.map.distances) return;
    const { width, height, data } = this.distances, ink = rgbOf("--ink", this.canvas);
    const shade = document.createElement("canvas");
    [shade.width, shade.height] = [width, height];
    const pixels = new ImageData(width, height);
    for (let n = 0; n < width * height; n++) {
      pixels.data.set([...ink, OPACITY * data[4 * n]], 4 * n);
    }
    shade.getContext("2d").putImageData(pixels, 0, 0);
    this.shade = shade;
    this.redraw();
  }

  /* Fits all points into the canvas; if they are few, also what surrounds them. */
  whole() {
    const { points, low, high } = this.map;
    let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
    const include = (x, y) => {
      [left, right] = [Math.min(left, x), Math.max(right, x)];
      [bottom, top] = [Math.min(bottom, y), Math.max(top, y)];
    };
    for (let n = 0; n < points.length; n += 2) include(points[n], points[n + 1]);
    const flat = left === right && bottom === top;
    if (this.map.distances && (flat || points.length < 20)) {
      include(...low);
      include(...high);
    }
    this.center = [(left + right) / 2, (bottom + top) / 2];
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const fit = Math.min((width - 40) / (right - left), (height - 40) / (top - bottom));
    this.scale = this.least = Number.isFinite(fit) && fit > 0 ? fit : 1;
    this.moved = false;  // by the user
    this.redraw();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (!this.map) return;
    if (this.moved) this.redraw(); else this.whole();
  }

  /* Returns the position on the canvas, in CSS pixels, of a place. */
  toScreen([x, y]) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return [width / 2 + (x - this.center[0]) * this.scale,
      height / 2 - (y - this.center[1]) * this.scale];
  }

  toPlace([x, y]) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return [this.center[0] + (x - width / 2) / this.scale,
      this.center[1] - (y - height / 2) / this.scale];
  }

  /* Zooms by a factor, keeping the place at a position on the canvas. */
  zoom(factor, position = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2]) {
    const before = this.toPlace(position);
    this.scale = Math.min(Math.max(this.scale * factor, this.least / 4), this.least * 1000);
    const after = this.toPlace(position);
    this.center = [this.center[0] + before[0] - after[0], this.center[1] + before[1] - after[1]];
    this.moved = true;
    this.redraw();
  }

  /* Moves the map by CSS pixels. */
  pan(right, down) {
    this.center = [this.center[0] - right / this.scale, this.center[1] + down / this.scale];
    this.moved = true;
    this.redraw();
  }

  isShown(index) {
    return this.only === null || this.labels[index] === this.only;
  }

  /* Returns the shown point nearest to a position, within CSS pixels; null if there is none. */
  pointAt(position, within) {
    const [x, y] = this.toPlace(position), { points } = this.map;
    let best = null, least = (within / this.scale) ** 2;
    for (let index = 0; 2 * index < points.length; index++) {
      const distance = (points[2 * index] - x) ** 2 + (points[2 * index + 1] - y) ** 2;
      if (distance <= least && this.isShown(index)) [best, least] = [index, distance];
    }
    return best;
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const context = this.canvas.getContext("2d"), ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (this.shaded && this.shade) {
      const [left, top] = this.toScreen([this.map.low[0], this.map.high[1]]);
      const [right, bottom] = this.toScreen([this.map.high[0], this.map.low[1]]);
      context.globalAlpha = OPACITY;  // beyond the picture, all is far
      context.fillStyle = `rgb(${rgbOf("--ink", this.canvas).join(" ")})`;
      context.fillRect(0, 0, width, height);
      context.globalAlpha = 1;
      context.clearRect(left, top, right - left, bottom - top);
      context.drawImage(this.shade, left, top, right - left, bottom - top);
    }
    this.drawPoints(context, width, height);
    const ink = `rgb(${rgbOf("--ink", this.canvas).join(" ")})`;
    const ground = `rgb(${rgbOf("--raised", this.canvas).join(" ")})`;
    for (const { place, text } of this.marks) {
      const [x, y] = this.toScreen(place);
      for (const [color, size] of [[ground, 5], [ink, text ? 1.5 : 3]]) {
        context.beginPath();
        context.arc(x, y, text ? 6 : 9, 0, 2 * Math.PI);
        context.lineWidth = size;
        context.strokeStyle = color;
        context.stroke();
      }
      if (text) {
        context.font = "600 13px system-ui, sans-serif";
        context.lineWidth = 3;
        context.strokeStyle = ground;
        context.strokeText(text, x + 10, y - 8);
        context.fillStyle = ink;
        context.fillText(text, x + 10, y - 8);
      }
    }
  }

  drawPoints(context, width, height) {
    const { points } = this.map, size = Math.min(4 + Math.log2(this.scale / this.least + 1), 9);
    const byColor = new Map();
    for (let index = 0; 2 * index < points.length; index++) {
      const [x, y] = this.toScreen([points[2 * index], points[2 * index + 1]]);
      if (x < -size || y < -size || x > width + size || y > height + size) continue;
      const color = this.colors[this.labels?.[index]] ?? "#4e79a7";
      const group = `${this.isShown(index) ? 0.75 : 0.08} ${color}`;
      if (!byColor.has(group)) byColor.set(group, []);
      byColor.get(group).push(x, y);
    }
    for (const [group, places] of byColor) {
      const [alpha, ...color] = group.split(" ");
      context.globalAlpha = Number(alpha);
      context.fillStyle = color.join(" ");
      context.beginPath();
      for (let n = 0; n < places.length; n += 2) {
        context.moveTo(places[n] + size / 2, places[n + 1]);
        context.arc(places[n], places[n + 1], size / 2, 0, 2 * Math.PI);
      }
      context.fill();
    }
    context.globalAlpha = 1;
  }
}

/* Returns the pixels of a part of a picture as ImageData. */
function readPixels(picture, left, top, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, left, top, width, height, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/* Returns a color of the style, #rrggbb, as three numbers. */
function rgbOf(name, element) {
  const text = getComputedStyle(element).getPropertyValue(name).trim();
  return [1, 3, 5].map(start => parseInt(text.slice(start, start + 2), 16));
}
