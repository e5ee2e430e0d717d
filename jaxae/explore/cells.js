/* The cells of a quantized code, each of which takes any entry of the codebook. */

function showCells() {
  const { kind, size, groupSize } = codebook, buttons = [];
  const across = content.codeShape.length === 3 ? content.codeShape[1] : 1;
  const perPlace = content.codeShape.at(-1) / groupSize, grid = $("#cells .grid");
  let chosen = 0;

  const choose = number => {
    chosen = number;
    press(buttons, buttons[number]);
    buttons.forEach((button, n) => { button.tabIndex = n === number ? 0 : -1; });
    $("#entry").value = buttons[number].textContent;
  };
  const entryOf = number =>
    ENTRIES[kind].entryOf(state.code.slice(number * groupSize, (number + 1) * groupSize));
  const setEntry = entry => {  // entries wrap around
    const code = state.code.slice();
    code.set(ENTRIES[kind].numbersOf((entry % size + size) % size), chosen * groupSize);
    setCode(code);
  };
  /* Returns where a cell is in the code, from 0 on. */
  const describe = number => {
    const place = Math.floor(number / perPlace), group = number % perPlace;
    const where = content.codeShape.length === 3
      ? `row ${Math.floor(place / across)}, column ${place % across}` : "";
    return [where, perPlace > 1 || !where ? `group ${group}` : ""].filter(Boolean).join(", ");
  };

  const inRow = across * perPlace;
  grid.style.gridTemplateColumns = `repeat(${inRow}, minmax(max-content, 1fr))`;
  for (let number = 0; number < SIZE / groupSize; number++) {
    const button = document.createElement("button");
    button.type = "button";
    if (perPlace > 1 && number % perPlace === perPlace - 1) button.className = "last";
    button.addEventListener("click", () => choose(number));
    button.addEventListener("keydown", event => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -inRow, ArrowDown: inRow }[event.key];
      if (!step || !buttons[number + step]) return;
      event.preventDefault();
      choose(number + step);
      buttons[number + step].focus();
    });
    buttons.push(button);
    grid.append(button);
  }
  listeners.push(() => {
    buttons.forEach((button, number) => {
      const entry = entryOf(number);
      button.textContent = entry;
      button.setAttribute("aria-label", `${describe(number)}: entry ${entry}`);
      button.style.background = `hsl(${Math.round(360 * entry / size)} 55% 50% / 0.3)`;
    });
    choose(chosen);
  });
  $("#previous").addEventListener("click", () => setEntry(entryOf(chosen) - 1));
  $("#next").addEventListener("click", () => setEntry(entryOf(chosen) + 1));
  $("#entry").addEventListener("change", event => {
    const entry = Math.round(event.target.valueAsNumber);
    if (Number.isFinite(entry)) setEntry(entry); else event.target.value = entryOf(chosen);
  });
}

if (QUANTIZED) showCells();
