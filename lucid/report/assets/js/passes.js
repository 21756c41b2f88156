// What each pass did: counts, names, and the graph before and after it.

function passesPanel(panel) {
  const list = element("ol", { class: "order", "aria-label": "Passes in their order" });
  const shown = element("div", { class: "pass", "aria-live": "polite" });
  const buttons = report.passes.map((one, i) => {
    const did = one.nodes !== undefined;
    const button = element("button", { type: "button", "aria-pressed": "false", class: did ? "" : "idle", on: { click: () => open(i) } },
      element("span", { class: "name" }, one.name), element("span", { class: "quiet" }, did ? `${whole(one.nodes[0])} → ${whole(one.nodes[1])} nodes` : "nothing to do"));
    list.append(element("li", {}, button));
    return button;
  });
  panel.append(element("div", { class: "two" }, list, shown));

  function open(i) {
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === i)));
    const one = report.passes[i];
    shown.replaceChildren(element("h2", {}, one.name));
    if (!one.nodes) { shown.append(element("p", {}, "This pass found nothing to change.")); return; }
    const ops = Object.entries(one.ops).map(([op, count]) => `${count > 0 ? "+" : "−"}${Math.abs(count)} ${op}`);
    shown.append(element("p", {}, `${counted(one.nodes[0], "node")} before, ${whole(one.nodes[1])} after${ops.length ? `: ${ops.join(", ")}` : ""}.`));
    if (one.scene) shown.append(picture(one));
    else shown.append(element("p", { class: "empty" }, report.notes.pass));
    for (const [kind, said] of [["new", "+ new"], ["changed", "~ changed"], ["gone", "– gone"]]) {
      const { count, names } = one[kind];
      if (!count) continue;
      shown.append(element("details", {}, element("summary", {}, `${said}: ${whole(count)}`),
        element("ul", {}, names.map((name) => element("li", {}, byName.has(name) ? link(byName.get(name)) : name)),
          count > names.length ? element("li", { class: "quiet" }, `and ${whole(count - names.length)} more`) : null)));
    }
  }

  function picture(one) {
    const scene = new Scene(one.scene, `The graph before and after ${one.name}; the lists below name what has changed`);
    const stage = element("div", { class: "stage", tabindex: 0, role: "region", "aria-label": `Before and after ${one.name}; + and − zoom, arrows move` });
    const button = (label, said, action) => element("button", { type: "button", "aria-label": said, title: said, on: { click: action } }, label);
    stage.append(scene.svg);
    let camera;
    setTimeout(() => { camera = new Camera(scene); setTimeout(() => camera.start(), 30); });
    stage.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
      if (event.key in moves) camera.move(...moves[event.key]);
      else if (event.key === "+" || event.key === "=") camera.zoom(1.3);
      else if (event.key === "-") camera.zoom(1 / 1.3);
      else if (event.key === "0") camera.fit(true);
      else return;
      event.preventDefault();
    });
    return element("div", {}, element("div", { class: "toolbar", role: "toolbar", "aria-label": "Picture" },
      button("+", "Zoom in", () => camera.zoom(1.3)), button("−", "Zoom out", () => camera.zoom(1 / 1.3)), button("Fit", "Fit into the window", () => camera.fit(true)),
      element("span", { class: "quiet" }, "– is gone, + is new, ~ has changed")), stage);
  }
  const first = report.passes.findIndex((one) => one.nodes);
  let opened = false;
  return { shown: () => { if (!opened && report.passes.length) { opened = true; open(Math.max(0, first)); } } };
}
