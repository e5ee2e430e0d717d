/* A slider for each number of the code that changes. */

for (const slider of $$("[data-dimension]")) {
  const { index } = content.dimensions[Number(slider.dataset.dimension)];
  slider.addEventListener("input", () => {
    const code = state.code.slice();
    code[index] = slider.valueAsNumber;
    setCode(code);
  });
  listeners.push(() => {
    if (slider.valueAsNumber !== state.code[index]) slider.value = state.code[index];
    slider.nextElementSibling.textContent = state.code[index].toFixed(2);
  });
}
