/* The start of the page. */

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  plane.colorShade();
  if (plane.map) plane.redraw();
}
$("#theme").addEventListener("click", () =>
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
sheet.decode().then(() => {
  const other = content.labels?.findIndex(label => label !== content.labels[0]) ?? 1;
  [ends[0], ends[1]] = COUNT > 1 ? [0, Math.max(other, 1)] : [0, 0];
  plane.resize();
  showMap(0);
  showTab(tabs[0]);
  choose(0);
  showEnds();
  document.documentElement.dataset.ready = "yes";
}).catch(error => { $("#status").textContent = `The page cannot be shown: ${error.message}`; });

/* For the browser's console: explorer.ask("decode", code) and so on. */
window.explorer = { ask, setCode, choose, state, content, codeOf, plane, isDecoded };
