/* Functions of codes: the entries of quantized ones, their neighbors, paths, places on a map. */

const codebook = QUANTIZED
  ? { ...content.quantizer, vectors: singles(content.quantizer.vectors) } : null;

/* Returns the entry nearest to a group of numbers, and the numbers of an entry. */
const ENTRIES = {
  vq: {
    entryOf: numbers =>
      nearestVector(codebook.vectors, codebook.size, codebook.groupSize, numbers, 0),
    numbersOf: entry =>
      codebook.vectors.slice(entry * codebook.groupSize, (entry + 1) * codebook.groupSize),
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

/* Returns the code nearest to some numbers: that of the nearest entries if codes are quantized. */
function settle(numbers) {
  const code = Float32Array.from(numbers);
  if (!QUANTIZED) return code;
  const { kind, groupSize } = codebook, { entryOf, numbersOf } = ENTRIES[kind];
  for (let start = 0; start < SIZE; start += groupSize) {
    code.set(numbersOf(entryOf(code.subarray(start, start + groupSize))), start);
  }
  return code;
}

/* Returns [index, distance] of the test images with the nearest codes, the nearest first. */
function nearestCodes(code, count, isWanted = () => true) {
  const found = [];
  for (let index = 0; index < COUNT; index++) {
    if (!isWanted(index)) continue;
    let square = 0;
    for (let n = 0, at = index * SIZE; n < SIZE; n++) square += (codes[at + n] - code[n]) ** 2;
    if (found.length < count || square < found.at(-1)[1]) {
      const place = found.findIndex(([, other]) => square < other);
      found.splice(place < 0 ? found.length : place, 0, [index, square]);
      if (found.length > count) found.pop();
    }
  }
  return found.map(([index, square]) => [index, Math.sqrt(square)]);
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

/* Returns where a code lies on a map. */
function placeOf(code, map) {
  if (!map.components) {
    return weightedMean(nearestCodes(code, 5), n => map.points.slice(2 * n, 2 * n + 2));
  }
  const place = [0, 0];
  for (let n = 0; n < SIZE; n++) {
    for (let axis = 0; axis < 2; axis++) {
      place[axis] += (code[n] - map.mean[n]) * map.components[axis * SIZE + n];
    }
  }
  return place;
}

/* Returns a code moved in the plane of a map to a place. In other directions it stays; on a map
   without components, the mean of the codes around the place takes its part. */
function codeAt(place, map, code) {
  if (map.components) {
    const from = placeOf(code, map), [right, up] = [place[0] - from[0], place[1] - from[1]];
    return code.map((x, n) => x + right * map.components[n] + up * map.components[SIZE + n]);
  }
  const near = Array.from({ length: COUNT }, (_, n) =>
    [n, Math.hypot(map.points[2 * n] - place[0], map.points[2 * n + 1] - place[1])]);
  return weightedMean(near.sort((a, b) => a[1] - b[1]).slice(0, 5), codeOf);
}

/* Returns the mean of what images have, with more weight for the nearer of [index, distance]. */
function weightedMean(near, numbersOf) {
  const weights = near.map(([, distance]) => 1 / (distance ** 2 + 1e-9));
  const total = weights.reduce((a, b) => a + b, 0), sum = numbersOf(near[0][0]).map(() => 0);
  near.forEach(([index], n) => {
    numbersOf(index).forEach((x, place) => { sum[place] += weights[n] / total * x; });
  });
  return sum;
}
