// What there is to say of the chosen node.

function details(panel) {
  const readers = nodes.map(() => []);
  nodes.forEach((node, number) => (node.feeds ?? []).forEach((source) => readers[source].includes(number) || readers[source].push(number)));

  const row = (name, ...content) => [element("dt", {}, name), element("dd", {}, ...content)];
  const listed = (lines) => lines.map((line) => element("div", {}, line));
  const links = (found) => found.slice(0, 30).map((node) => element("div", {}, link(node)));

  /** What else could have run a step, the quickest first. */
  function others(ways) {
    const said = ways.slice().sort((a, b) => a[1] - b[1]).map(([name, took]) => `${name}: ${seconds(took)} predicted`);
    if (said.length < 3) return listed(said);
    return element("details", {}, element("summary", {}, `${said[0]}, and ${whole(said.length - 1)} more`), listed(said.slice(1)));
  }

  function step(one) {
    const rows = row("runs by", one.lowering, one.workers > 1 ? `, ${one.workers} workers` : "");
    if (one.once) rows.push(...row("when", "once for a change of the parameters"));
    if (one.seconds !== undefined) rows.push(...row("took", `${seconds(one.seconds)}, ${percent(one.seconds / total)} of a run`));
    if (one.predicted) rows.push(...row("predicted", seconds(one.predicted)));
    if (one.helpers?.some((spent) => spent > 0)) rows.push(...row("helpers", one.helpers.map(seconds).join(", ")));
    if (one.seconds && one.least) rows.push(...row("at best", `${seconds(one.least)} on this machine`));
    if (one.flops && one.seconds) rows.push(...row("computes", `${rate(one.flops, "FLOP")}, ${rate(one.flops / one.seconds, "FLOP/s")}`));
    if (one.moved) rows.push(...row("moves", `${bytes(one.moved)}${one.seconds ? `, ${bytes(one.moved / one.seconds)}/s` : ""}`));
    rows.push(...row("results", bytes(one.bytes)));
    if (one.others.length) rows.push(...row("not by", others(one.others)));
    return rows;
  }

  const [heading, told] = panel.children;

  function show(number) {
    heading.textContent = number < 0 ? "No node chosen" : nodes[number].name;
    if (number < 0) {
      told.replaceChildren(
        element("p", {}, "Choose one in the graph, a table or the program below: it is lit in all of them."));
      return;
    }
    const node = nodes[number], lines = node.lines;
    told.replaceChildren(
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
