/* Answers {id, method, value, label} with {id, result, milliseconds}; the first message brings the
   network: its operations by method, and the weights that they share. */
let network = null;

self.onmessage = ({ data }) => {
  if (network === null) {
    const weights = fromHalves(fromBase64(data.weights));
    network = Object.fromEntries(Object.entries(data.methods).map(([name, { operations, shape }]) =>
      [name, { operations: withArrays(operations, weights), shape }]));
    return;
  }
  const { id, method, value, label } = data, { operations, shape } = network[method];
  const started = performance.now();
  const result = compute(operations, value, shape, label);
  self.postMessage({ id, result, milliseconds: performance.now() - started });
};
