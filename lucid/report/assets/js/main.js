// Puts the page together: tabs, theme, keys.

const VIEWS = [
  ["graph", "Graph", graphPanel], ["passes", "Passes", passesPanel], ["times", "Time", timesPanel],
  ["memory", "Memory", memoryPanel], ["plan", "Plan", planPanel], ["weights", "Weights", weightsPanel],
];

function tabs() {
  const list = document.getElementById("views"), panels = document.getElementById("panels");
  const made = VIEWS.map(([id, label, build]) => {
    const tab = element("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}`, on: { click: () => open(id) } }, label);
    const panel = element("section", { role: "tabpanel", id: `panel-${id}`, class: `panel ${id}`, "aria-labelledby": `tab-${id}`, hidden: true });
    list.append(tab);
    panels.append(panel);
    return { id, tab, panel, build, state: null };
  });
  function open(id, focus) {
    for (const one of made) {
      const here = one.id === id;
      one.tab.setAttribute("aria-selected", String(here));
      one.tab.tabIndex = here ? 0 : -1;
      one.panel.hidden = !here;
      if (here && one.state === null) one.state = one.build(one.panel) ?? {};
      if (here) one.state.shown?.();
      if (here && focus) one.tab.focus();
    }
  }
  list.addEventListener("keydown", (event) => {
    const at = made.findIndex((one) => one.tab === document.activeElement);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: made.length - 1 }[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    open(made[(next + made.length) % made.length].id, true);
  });
  return open;
}

function theme() {
  const button = document.getElementById("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (name) => {
    document.documentElement.dataset.theme = name;
    button.textContent = name === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Change to ${name === "dark" ? "light" : "dark"} colours`);
  };
  let asked = false;
  set(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => asked || set(dark.matches ? "dark" : "light"));
  button.addEventListener("click", () => { asked = true; set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); });
}

const KEYS = [
  ["/", "search; Enter takes what is marked"], ["Esc", "leave the search, or choose nothing"],
  ["1 – 6", "the views"], ["Tab", "to the next part of the page"],
  ["↑ ↓", "in the graph: along an arrow"], ["← →", "in the graph: the next thing, row by row"],
  ["Enter", "choose a box, open or close a module"], ["c", "close the module around a box"],
  ["+ − 0", "zoom in, zoom out, fit"], ["Shift + arrows", "move the graph"], ["?", "this list"],
];

function keys(open) {
  const dialog = document.getElementById("keys");
  dialog.append(element("h2", { id: "keys-title" }, "Keys"),
    element("dl", {}, KEYS.flatMap(([key, what]) => [element("dt", {}, element("kbd", {}, key)), element("dd", {}, what)])),
    element("form", { method: "dialog" }, element("button", {}, "Close")));
  document.getElementById("help").addEventListener("click", () => dialog.showModal());
  dialog.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); dialog.close(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || event.target.matches("input, select, textarea")) return;
    if (event.key === "/") document.getElementById("search").focus();
    else if (event.key === "?") dialog.showModal();
    else if (event.key === "Escape") choose(-1, "escape");
    else if (event.key >= "1" && event.key <= String(VIEWS.length)) open(VIEWS[Number(event.key) - 1][0], true);
    else return;
    event.preventDefault();
  });
}

/** The side can be made wider and narrower. */
function divider() {
  const bar = document.getElementById("divider"), body = document.getElementById("body");
  let side = 0.36;
  const set = (part) => {
    side = clamp(0.15, part, 0.8);
    body.style.setProperty("--side", `${(100 * side).toFixed(1)}%`);
    bar.setAttribute("aria-valuenow", Math.round(100 * side));
  };
  set(side);
  bar.setAttribute("aria-valuemin", 15); bar.setAttribute("aria-valuemax", 80);
  bar.addEventListener("pointerdown", (event) => bar.setPointerCapture(event.pointerId));
  bar.addEventListener("pointermove", (event) => { if (bar.hasPointerCapture(event.pointerId)) set(1 - event.clientX / innerWidth); });
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: 0.03, ArrowRight: -0.03 }[event.key];
    if (step) { set(side + step); event.preventDefault(); }
  });
}

document.getElementById("facts").textContent = [report.takes ? `takes ${report.takes}` : "takes nothing", `${counted(nodes.filter((node) => node.step && !node.step.once).length, "step")} a run`,
  ...(measured ? [`${seconds(total)} a run`] : [])].join(" · ");
theme();
source(document.getElementById("source"));
details(document.getElementById("details"));
search();
divider();
const openView = tabs();
keys(openView);
openView("graph");
