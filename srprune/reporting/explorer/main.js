// Start: half of the patches, hardest first, or the first core-set that was given.

startControls();
startChart();
startDetail();
startGallery();
change({ first: 0, size: Math.max(1, portion(0.5, N)) }, { gesture: true });
if (data.presets.length) showPreset(0);
view.before.set(view.status);
byId("app").hidden = false;
measureChart();
watchers.forEach((watcher) => watcher());
openTab("cuts");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  colors.clear();
  watchers.forEach((watcher) => watcher());
});

// For the console, and for tests.
window.explorer = { data, state, view, portion, shareOf, windowOf, change, changeWindow };
