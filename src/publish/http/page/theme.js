// Runs before the first paint, so that a chosen theme never flashes; the switch itself is in page.js.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // Where the browser keeps nothing, the system's preference holds.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
