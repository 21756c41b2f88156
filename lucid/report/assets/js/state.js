// The data, and what is chosen and pointed at: every part of the page listens to the same two numbers.

const report = JSON.parse(document.getElementById("data").textContent);
const nodes = report.nodes;
const byName = new Map(nodes.map((node, number) => [node.name, number]));

const state = { chosen: -1, hovered: -1 };
const listeners = { choose: [], hover: [] };

const on = (kind, listener) => listeners[kind].push(listener);

/** Choose a node by its number, -1 for none; `from` is the part of the page that did. */
function choose(node, from) {
  state.chosen = node;
  for (const listener of listeners.choose) listener(node, from);
}

function hover(node, from) {
  if (node === state.hovered) return;
  state.hovered = node;
  for (const listener of listeners.hover) listener(node, from);
}

const measured = report.profile !== null;
/** Seconds of a node in a run: measured, or else predicted; 0 for what does not run. */
function time(node) {
  const step = node >= 0 ? nodes[node].step : undefined;
  if (!step || step.once || step.view) return 0;
  return step.seconds ?? (measured ? 0 : step.predicted);
}
const times = nodes.map((_, number) => time(number));
const total = measured ? report.profile.total : times.reduce((sum, one) => sum + one, 0);
const longest = Math.max(...times, 1e-12);
/** How hot a node is drawn, from 0 to 1; a root, so that short ones can be told apart. */
const heat = (spent) => Math.sqrt(clamp(0, spent / longest, 1));

/** A button that chooses a node; it is lit with it. */
function link(node, text) {
  if (node < 0) return document.createTextNode(text ?? "");
  return element("button", {
    type: "button", class: "link", "data-node": node,
    on: {
      click: () => choose(node, "link"),
      mouseenter: () => hover(node, "link"), mouseleave: () => hover(-1, "link"),
      focus: () => hover(node, "link"), blur: () => hover(-1, "link"),
    },
  }, text ?? nodes[node].name);
}

/** Mark what belongs to the chosen and to the hovered node, among elements that say which node they are of. */
function light(root, kind, node) {
  for (const old of root.querySelectorAll(`.${kind}`)) old.classList.remove(kind);
  if (node >= 0) for (const one of root.querySelectorAll(`[data-node="${node}"]`)) one.classList.add(kind);
}

const tip = document.getElementById("tip");
function showTip(event, lines) {
  tip.replaceChildren(...lines.map((line) => element("div", {}, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${clamp(4, event.clientX + 14, innerWidth - width - 4)}px`;
  tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
}
const hideTip = () => { tip.hidden = true; };

/** Lines that say a node in short. */
function inShort(node) {
  const { name, op, type, step } = nodes[node];
  const spent = time(node);
  return [
    name, `${op} → ${type}`,
    ...(step ? [step.once ? "once for a change of the parameters" : step.view ? "a view: takes no time" :
      `${seconds(spent)} (${percent(spent / total)})${measured ? "" : ", predicted"}`, step.lowering] : []),
  ];
}
