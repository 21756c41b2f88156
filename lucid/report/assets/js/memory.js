// Who occupies which bytes of the arena, from which step to which.

function memoryPanel(panel) {
  const memory = report.memory;
  panel.append(element("p", {},
    `A run needs ${bytes(memory.arena)} of working memory (${bytes(memory.least)} are in use at once at the most), and gives ${bytes(memory.results)} of results. ` +
    `Of parameters, ${bytes(memory.packed)} are kept as the program reads them${memory.packing ? `, and making those takes ${bytes(memory.packing)}` : ""}.`));
  if (!memory.blocks.length || !memory.steps.length) {
    panel.append(element("p", { class: "empty" }, "No step of a run needs memory of its own."));
    return;
  }
  panel.append(timeline(memory));
  const said = (block) => block.owners.map((owner) => `${owner.node}: ${owner.what}`).join("; then ");
  panel.append(table("Blocks of the arena", [
    { head: "whose", of: said, show: (row) => element("span", {}, row.owners.map((owner, i) => [i ? "; then " : "", link(byName.get(owner.node) ?? -1, owner.node), `: ${owner.what}`]).flat()) },
    { head: "from step", of: (row) => row.first, number: true, show: (row) => String(row.first + 1) },
    { head: "to step", of: (row) => row.last, number: true, show: (row) => String(row.last + 1) },
    { head: "offset", of: (row) => row.offset, number: true, show: (row) => whole(row.offset) },
    { head: "bytes", of: (row) => row.bytes, number: true, show: (row) => whole(row.bytes) },
    { head: "type", of: (row) => row.owners[row.owners.length - 1].type },
  ], memory.blocks.map((block) => ({ ...block, node: byName.get(block.owners[0].node) })), [4, true]));
}

function timeline(memory) {
  const steps = memory.steps.length;
  const wide = clamp(640, 70 + steps * 14, 2400), tall = 340, [left, right, upper, lower] = [62, 10, 8, 38];
  const x = (step) => left + (wide - left - right) * step / steps;
  const y = (offset) => tall - lower - (tall - upper - lower) * offset / memory.arena;
  const live = liveBytes(memory);
  const svg = drawn("svg", { viewBox: `0 0 ${wide} ${tall}`, class: "chart memory", role: "group", "aria-label": `${counted(memory.blocks.length, "block")} over ${counted(steps, "step")}; the table below has the same numbers` },
    sizes(memory.arena, 6).map((z) => [drawn("path", { class: "grid", d: `M${left} ${n(y(z))}H${wide - right}` }), drawn("text", { class: "tick end", x: left - 6, y: n(y(z) + 3) }, binary(z))]).flat(),
    ticks(1, steps, Math.max(2, wide / 90)).filter(Number.isInteger).map((z) => drawn("text", { class: "tick middle", x: n(x(z - 0.5)), y: tall - lower + 14 }, whole(z))),
    drawn("text", { class: "tick middle", x: (left + wide - right) / 2, y: tall - 6 }, "step of a run"),
    drawn("text", { class: "tick middle", x: 12, y: (tall - lower) / 2, transform: `rotate(-90 12 ${(tall - lower) / 2})` }, "place in the arena"),
    memory.blocks.map((block) => {
      const node = byName.get(block.owners[0].node) ?? -1, kind = node < 0 ? "other" : nodes[node].kind;
      const working = block.owners[0].what === "working memory";
      const [height, width] = [y(block.offset) - y(block.offset + block.bytes), x(block.last + 1) - x(block.first)];
      const shape = drawn("rect", { class: `block k-${kind}${working ? " working" : ""}`, "data-node": node >= 0 ? node : null, x: n(x(block.first)), y: n(y(block.offset + block.bytes)), width: n(Math.max(1, width)), height: n(Math.max(1, height)) });
      shape.addEventListener("click", () => choose(node, "memory"));
      shape.addEventListener("pointermove", (event) => {
        hover(node, "memory");
        showTip(event, [...block.owners.map((owner) => `${owner.node}: ${owner.what}, ${owner.type}`), `${bytes(block.bytes)} at ${whole(block.offset)}`, `steps ${block.first + 1} to ${block.last + 1}`]);
      });
      shape.addEventListener("pointerleave", () => { hover(-1, "memory"); hideTip(); });
      return shape;
    }),
    drawn("path", { class: "live", d: live.map((z, i) => `${i ? "L" : "M"}${n(x(i))} ${n(y(z))}H${n(x(i + 1))}`).join("") }));
  svg.style.setProperty("min-width", `${wide}px`);
  light(svg, "chosen", state.chosen);
  on("choose", (node) => light(svg, "chosen", node));
  on("hover", (node) => light(svg, "hovered", node));
  return element("figure", {}, element("figcaption", {}, "The arena over a run: each block from the step that makes it to the last that reads it"),
    element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Timeline of the arena" }, svg),
    element("p", { class: "quiet" }, "Colours are kinds of operators. Faint: working memory of a step. Line: bytes in use."));
}

/** Bytes that are in use at each step. */
function liveBytes(memory) {
  const change = new Array(memory.steps.length + 1).fill(0);
  for (const block of memory.blocks) { change[block.first] += block.bytes; change[block.last + 1] -= block.bytes; }
  let sum = 0;
  return change.slice(0, -1).map((z) => (sum += z));
}
