"use strict";
/* Computes a network's operations, as jaxae/models/operations.py defines them, on one value at a
   time: a Float32Array in row-major order, with the channels last. */

const ACTIVATIONS = {
  relu: x => x > 0 ? x : 0,
  relu6: x => Math.min(Math.max(x, 0), 6),
  elu: x => x > 0 ? x : Math.expm1(x),
  gelu: x => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
  silu: x => x * sigmoid(x),
  leaky_relu: x => x > 0 ? x : 0.01 * x,
  "leaky_relu_0.3": x => x > 0 ? x : 0.3 * x,
  sigmoid,
  softplus: x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  tanh: Math.tanh,
  clip: x => Math.min(Math.max(x, 0), 1),
  continuous_bernoulli_mean: x =>
    // The difference loses its digits near 0, where the series has them.
    Math.abs(x) < 1e-2 ? 0.5 + x / 12 - x * x * x / 720 : 1 / -Math.expm1(-x) - 1 / x,
};

function sigmoid(x) {
  return 1 / (1 + Math.exp(-x));
}

/* Returns half-precision numbers, as little-endian bytes, as a Float32Array. */
function fromHalves(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const numbers = new Float32Array(bytes.byteLength / 2);
  for (let n = 0; n < numbers.length; n++) {
    const bits = view.getUint16(2 * n, true);
    const exponent = bits >> 10 & 31, fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24
      : exponent === 31 ? (fraction ? NaN : Infinity)
        : (1 + fraction / 1024) * 2 ** (exponent - 15);
    numbers[n] = bits >> 15 ? -size : size;
  }
  return numbers;
}

/* Returns the bytes of base64 text. */
function fromBase64(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let n = 0; n < bytes.length; n++) bytes[n] = binary.charCodeAt(n);
  return bytes;
}

/* Returns operations whose arrays are parts of the weights: {values, shape} by name. */
function withArrays(operations, weights) {
  return operations.map(operation => {
    const arrays = {};
    for (const [name, [start, shape]] of Object.entries(operation.arrays)) {
      const size = shape.reduce((a, b) => a * b, 1);
      arrays[name] = { values: weights.subarray(start, start + size), shape };
    }
    return { ...operation, arrays };
  });
}

/* Applies operations to a value of a shape; only conditional networks read the label. */
function compute(operations, value, shape, label) {
  const kept = [];
  for (const operation of operations) {
    if (operation.kind === "keep") {
      kept.push(value);
    } else if (operation.kind === "add") {
      const other = kept.pop();
      value = value.map((x, n) => x + other[n]);
    } else {
      value = APPLY[operation.kind](value, operation, shape, label);
    }
    shape = operation.shape;
  }
  return value;
}

const APPLY = {
  reshape: x => x,
  dense(x, { arrays: { kernel, bias } }) {
    const outputs = bias.values.length, y = bias.values.slice(), weights = kernel.values;
    for (let n = 0; n < x.length; n++) {
      const factor = x[n], row = n * outputs;
      if (factor !== 0) for (let m = 0; m < outputs; m++) y[m] += factor * weights[row + m];
    }
    return y;
  },
  convolve,
  pool,
  upsample(x, { settings: { factor }, shape: [height, width, channels] }, shape) {
    const y = new Float32Array(height * width * channels);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const from = (Math.floor(row / factor) * shape[1] + Math.floor(column / factor)) * channels;
        y.set(x.subarray(from, from + channels), (row * width + column) * channels);
      }
    }
    return y;
  },
  normalize,
  activate(x, { settings: { name } }, shape) {
    return name === "limited_scale" ? limitScale(x, shape.at(-1)) : x.map(ACTIVATIONS[name]);
  },
  rescale(x, { settings: { factor, offset } }) {
    return x.map((value, n) => value * factor[n % factor.length] + offset[n % offset.length]);
  },
  take_first(x, { shape: after }, before) {
    const taken = after.at(-1), all = before.at(-1);
    const y = new Float32Array(x.length / all * taken);
    for (let n = 0; n * all < x.length; n++) {
      y.set(x.subarray(n * all, n * all + taken), n * taken);
    }
    return y;
  },
  append_class(x, { settings: { classes } }, shape, label) {
    const y = new Float32Array(x.length + classes);
    y.set(x);
    y[x.length + label] = 1;
    return y;
  },
  add_class_image(x, { arrays: { images } }, shape, label) {
    return x.map((value, n) => value + images.values[label * x.length + n]);
  },
  look_up(x, { arrays: { vectors } }) {
    const [size, dimension] = vectors.shape, y = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += dimension) {
      const index = nearestVector(vectors.values, size, dimension, x, start);
      y.set(vectors.values.subarray(index * dimension, (index + 1) * dimension), start);
    }
    return y;
  },
  round(x, { arrays: { shift, half, offset, width } }) {
    const size = shift.values.length;
    return x.map((value, n) => {
      const at = n % size, bounded = Math.tanh(value + shift.values[at]) * half.values[at];
      return roundToEven(bounded - offset.values[at]) / width.values[at];
    });
  },
  keep_largest(x, { settings: { count } }) {
    const order = [...x.keys()].sort((a, b) => x[b] - x[a] || a - b).slice(0, count);
    const y = new Float32Array(x.length);
    for (const n of order) y[n] = x[n];
    return y;
  },
};

function convolve(x, operation, [height, width, channels]) {
  const { settings: { stride, dilation, low }, arrays: { kernel, bias }, shape } = operation;
  const [rows, columns, outputs] = shape, [taps, across] = kernel.shape;
  operation.turned ??= transposed(kernel.values, outputs);
  const y = new Float32Array(rows * columns * outputs);
  const pixels = new Int32Array(taps * across), places = new Int32Array(taps * across);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let count = 0;
      for (let down = 0; down < taps; down++) {
        const v = place(row, down, stride, low[0], dilation, height);
        if (v < 0) continue;
        for (let right = 0; right < across; right++) {
          const u = place(column, right, stride, low[1], dilation, width);
          if (u < 0) continue;
          pixels[count] = (v * width + u) * channels;
          places[count++] = (down * across + right) * channels;
        }
      }
      const read = { pixels, places, count, channels };
      multiply(x, read, operation.turned, bias.values, y, (row * columns + column) * outputs);
    }
  }
  return y;
}

/* Returns a matrix of so many columns with its rows and columns exchanged. */
function transposed(values, columns) {
  const rows = values.length / columns, turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      turned[column * rows + row] = values[row * columns + column];
    }
  }
  return turned;
}

/* Writes bias + matrix x to y from `start` on, where x is what some pixels hold, in their places
   of a row; four rows at a time, so that x is read less. */
function multiply(x, { pixels, places, count, channels }, matrix, bias, y, start) {
  const outputs = bias.length, size = matrix.length / outputs;
  let row = 0;
  for (; row + 4 <= outputs; row += 4) {
    let a = bias[row], b = bias[row + 1], c = bias[row + 2], d = bias[row + 3];
    for (let tap = 0; tap < count; tap++) {
      let n = pixels[tap], m = row * size + places[tap];
      for (const end = n + channels; n < end; n++, m++) {
        const factor = x[n];
        a += factor * matrix[m];
        b += factor * matrix[m + size];
        c += factor * matrix[m + 2 * size];
        d += factor * matrix[m + 3 * size];
      }
    }
    y[start + row] = a;
    y[start + row + 1] = b;
    y[start + row + 2] = c;
    y[start + row + 3] = d;
  }
  for (; row < outputs; row++) {
    let sum = bias[row];
    for (let tap = 0; tap < count; tap++) {
      let n = pixels[tap], m = row * size + places[tap];
      for (const end = n + channels; n < end; n++, m++) sum += x[n] * matrix[m];
    }
    y[start + row] = sum;
  }
}

/* Returns the pixel that a tap reads along one axis; -1 for a zero. */
function place(output, tap, stride, low, dilation, size) {
  const at = stride * output + tap - low;
  return at < 0 || at % dilation || at >= size * dilation ? -1 : at / dilation;
}

function pool(x, { settings: { window, stride, low }, shape }, [height, width]) {
  const [rows, columns, channels] = shape;
  const y = new Float32Array(rows * columns * channels).fill(-Infinity);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = (row * columns + column) * channels;
      for (let down = 0; down < window; down++) {
        const v = place(row, down, stride, low[0], 1, height);
        for (let right = 0; right < window; right++) {
          const u = place(column, right, stride, low[1], 1, width);
          if (v < 0 || u < 0) continue;
          const from = (v * width + u) * channels;
          for (let c = 0; c < channels; c++) y[at + c] = Math.max(y[at + c], x[from + c]);
        }
      }
    }
  }
  return y;
}

function normalize(x, { settings: { groups, epsilon }, arrays: { scale, bias } }, shape) {
  const channels = shape.at(-1), size = channels / groups, y = new Float32Array(x.length);
  for (let start = 0; start < channels; start += size) {
    let sum = 0, squares = 0;
    const visit = act => {
      for (let pixel = start; pixel < x.length; pixel += channels) {
        for (let n = pixel; n < pixel + size; n++) act(n);
      }
    };
    visit(n => { sum += x[n]; });
    const count = x.length / groups, mean = sum / count;
    visit(n => { squares += (x[n] - mean) ** 2; });
    const factor = 1 / Math.sqrt(squares / count + epsilon);
    visit(n => {
      const c = n % channels;
      y[n] = (x[n] - mean) * factor * scale.values[c] + bias.values[c];
    });
  }
  return y;
}

function limitScale(x, channels) {
  const y = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += channels) {
    const part = x.subarray(start, start + channels);
    const square = part.reduce((sum, value) => sum + value * value, 0) / channels;
    y.set(part.map(value => value * 2 / Math.sqrt(Math.max(square, 4))), start);
  }
  return y;
}

/* Returns the index of the vector nearest to the numbers of x from `start` on. */
function nearestVector(vectors, size, dimension, x, start) {
  let best = 0, least = Infinity;
  for (let index = 0; index < size; index++) {
    let distance = 0;
    for (let n = 0; n < dimension; n++) {
      distance += (x[start + n] - vectors[index * dimension + n]) ** 2;
    }
    if (distance < least) [best, least] = [index, distance];
  }
  return best;
}

function roundToEven(x) {
  const near = Math.round(x);
  return Math.abs(x % 1) === 0.5 && near % 2 ? near - 1 : near;
}
