// Switches, numbers, the command and the filter.

function setFilter(text) {
  byId("filter").value = text;
  change({ filter: text });
}

function say(text) {
  byId("said").textContent = text;
}

function drawControls() {
  const end = state.first + state.size, away = state.preset !== null;
  const [low, high] = keptRange();
  const held = heldShare();
  byId("kept").textContent = `${whole.format(view.kept)} (${percent.format(view.kept / N)})`;
  byId("skipped").textContent = whole.format(away ? 0 : state.first);
  byId("dropped").textContent = whole.format(away ? N - view.kept : N - end);
  byId("held-name").textContent = `of the ${tableNow().noun}`;
  byId("held").textContent = held === null ? "-" : percent.format(held);
  byId("range").textContent = `${scoreText(low)} to ${scoreText(high)}`;
  byId("command").textContent = commandNow();
  byId("table").value = String(state.table);
  for (const radio of document.getElementsByName("rule")) radio.checked = radio.value === state.rule;
  // while one of the two is typed, the other may wait for it: together they make a window
  if (!isShare(document.activeElement)) {
    for (const [name, count] of [["ratio", state.size], ["offset", state.first]]) {
      byId(name).value = String(shareOf(count, N));
      byId(name).removeAttribute("aria-invalid");
    }
  }
  data.presets.forEach((preset, number) => {
    byId(`preset-${number}`).setAttribute("aria-pressed", String(isShown(preset, number)));
  });
}

function isShare(node) {
  return node === byId("ratio") || node === byId("offset");
}

/** A number was typed: the window follows as soon as both make one. */
function typed() {
  const [ratio, offset] = ["ratio", "offset"].map((name) => byId(name));
  const values = [ratio, offset].map(({ value }) => (fraction(value) ? Number(value) : NaN));
  const { first, size, fault } = windowOf(...values, N);
  for (const input of [ratio, offset]) {
    input.toggleAttribute("aria-invalid", Boolean(fault));
    if (fault) input.setAttribute("aria-invalid", "true");
  }
  say(fault || "");
  if (!fault) changeWindow(first, size, { gesture: true });
}

async function copyCommand() {
  const text = byId("command").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // no clipboard for this page: the old way, by selection
    const range = document.createRange();
    range.selectNodeContents(byId("command"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    if (!document.execCommand("copy")) return say("Press Ctrl+C: the command is selected.");
  }
  byId("copy").textContent = "Copied";
  say("The command is in the clipboard.");
  setTimeout(() => { byId("copy").textContent = "Copy"; }, 1500);
}

function startControls() {
  const images = data.images.length === 1 ? "1 image" : `${whole.format(data.images.length)} images`;
  byId("facts").textContent =
    `${whole.format(N)} patches of ${data.size} px, stride ${data.stride}, from ${images}`;
  data.tables.forEach((table, number) => {
    byId("table").append(element("option", { value: String(number), textContent: table.name }));
  });
  byId("table").disabled = data.tables.length === 1;
  byId("table").addEventListener("change", (event) => {
    change({ table: Number(event.target.value), preset: null }, { gesture: true });
  });
  for (const radio of document.getElementsByName("rule")) {
    radio.addEventListener("change", () => change({ rule: radio.value, preset: null }, { gesture: true }));
  }
  for (const name of ["ratio", "offset"]) {
    byId(name).addEventListener("input", typed);
    byId(name).addEventListener("blur", ({ relatedTarget }) => {
      if (!isShare(relatedTarget)) drawControls();
    });
  }
  data.presets.forEach((preset, number) => {
    const button = element("button", {
      type: "button", id: `preset-${number}`, className: "preset", textContent: preset.name,
    });
    button.addEventListener("click", () => showPreset(number));
    byId("presets").append(button);
  });
  byId("presets").hidden = !data.presets.length;
  byId("filter").addEventListener("input", (event) => change({ filter: event.target.value }));
  byId("copy").addEventListener("click", copyCommand);
  showCorrelation();
  const parents = [...data.tables, ...data.presets].map((each) => `${each.name} ${each.fingerprint}`);
  byId("made").textContent =
    `made by srprune ${data.srprune} from patches ${data.patches}; ${parents.join("; ")}`;
  watchers.push(drawControls);
}

/** Spearman's rank correlation of the table on the screen with each other one. */
function showCorrelation() {
  if (data.tables.length < 2) return;
  const note = element("p", { id: "correlation" });
  byId("switches").after(note);
  watchers.push(() => {
    const others = data.tables.map((table, number) => [table.name, data.correlation[state.table][number], number]);
    const texts = others.filter(([, , number]) => number !== state.table)
      .map(([name, value]) => `${name} ${value === null ? "-" : value.toFixed(3)}`);
    note.textContent = `rank correlation of ${tableNow().name} with ${texts.join(", ")}`;
  });
}
