/* What the page holds, and the network in a worker, so that the page stays responsive. */

const $ = selector => document.querySelector(selector);
const $$ = selector => [...document.querySelectorAll(selector)];

const content = JSON.parse($("#content").textContent);
const [HEIGHT, WIDTH, CHANNELS] = content.shape;
const SIZE = content.codeShape.reduce((a, b) => a * b, 1);
const COUNT = content.numbers.length;
const QUANTIZED = content.quantizer !== null;

const halves = text => fromHalves(fromBase64(text));
const singles = text => text === null ? null : new Float32Array(fromBase64(text).buffer);

const codes = halves(content.codes);
const maps = content.maps.map(map => ({
  ...map,
  points: singles(map.points),
  components: singles(map.components),
  mean: singles(map.mean),
}));
const codeOf = index => codes.slice(index * SIZE, (index + 1) * SIZE);

const source = ["runtime", "worker"].map(id => document.getElementById(id).textContent).join("\n");
const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
const answers = new Map();
let asked = 0;
worker.postMessage({ methods: content.methods, weights: content.weights });
worker.onmessage = ({ data }) => {
  answers.get(data.id)(data);
  answers.delete(data.id);
};
worker.onerror = event => {
  $("#status").textContent = `The network cannot be computed in this browser: ${event.message}`;
};

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
