// What there is to say of the chosen node.

function details(panel) {
  const readers = nodes.map(() => []);
  nodes.forEach((node, number) => (node.feeds ?? []).forEach((source) => readers[source].includes(number) || readers[source].push(number)));

  const row = (name, ...content) => [element("dt", {}, name), element("dd", {}, ...content)];
  const listed = (lines) => lines.map((line) => element("div", {}, line));
  const links = (found) => found.slice(0, 30).map((node) => element("div", {}, link(node)));

  function step(one) {
    const rows = row("runs by", one.lowering, one.workers > 1 ? `, ${one.workers} workers` : "");
    if (one.once) rows.push(...row("when", "once for a change of the parameters"));
    if (one.seconds !== undefined) rows.push(...row("took", `${seconds(one.seconds)}, ${percent(one.seconds / total)} of a run`));
    if (!one.view) rows.push(...row("predicted", seconds(one.predicted)));
    if (one.others.length) rows.push(...row("not by", listed(one.others.map(([name, took]) => `${name}: ${seconds(took)} predicted`))));
    if (one.helpers?.some((spent) => spent > 0)) rows.push(...row("helpers", one.helpers.map(seconds).join(", ")));
    if (one.seconds && one.least) rows.push(...row("at best", `${seconds(one.least)} on this machine`));
    if (one.flops && one.seconds) rows.push(...row("computes", `${rate(one.flops, "FLOP")}, ${rate(one.flops / one.seconds, "FLOP/s")}`));
    if (one.moved) rows.push(...row("moves", `${bytes(one.moved)}${one.seconds ? `, ${bytes(one.moved / one.seconds)}/s` : ""}`));
    rows.push(...row("results", bytes(one.bytes)));
    return rows;
  }

  function show(number) {
    if (number < 0) {
      panel.replaceChildren(element("h2", {}, "No node chosen"),
        element("p", {}, "Choose one in the graph, a table or the program below: it is lit in all of them."));
      return;
    }
    const node = nodes[number], lines = node.lines;
    panel.replaceChildren(
      element("h2", {}, node.name),
      element("dl", {}, [
        row("operator", element("span", { class: `chip k-${node.kind}` }, node.op)),
        row("gives", node.type),
        node.feeds?.length ? row("reads", links([...new Set(node.feeds)])) : [],
        readers[number].length ? row("read by", links(readers[number])) : [],
        node.step ? step(node.step) : [],
        lines.length ? row("program", element("button", { type: "button", class: "link", id: "to-line", on: { click: () => toLine(lines, true) } },
          `${counted(lines.length, "line")}, from line ${lines[0]}`)) : [],
        node.modules.length ? row("module", listed(node.modules)) : [],
        node.where.length ? row("your line", listed(node.where)) : [],
        node.history.length ? row("passes", listed(node.history)) : [],
        node.left?.length ? row("left as it is", listed(node.left)) : [],
        node.attributes.length ? row("attributes", listed(node.attributes.map(([name, value]) => `${name} = ${value}`))) : [],
      ].flat()));
    panel.scrollTop = 0;
  }
  on("choose", show);
  show(-1);
}
