// Time of every node, as a table and beside what the machine could do.

function timesPanel(panel) {
  const rows = nodes.map((node, number) => ({ node: number, ...node, ...node.step })).filter((row) => row.step && !row.once && !row.view);
  const profile = report.profile;
  if (profile) {
    panel.append(element("p", {}, `A run takes ${seconds(profile.total)} on ${counted(profile.threads, "thread")}; measuring it step by step changed that by ` +
      `${profile.distortion < 0 ? "−" : "+"}${percent(Math.abs(profile.distortion))}. A core does ${rate(profile.limits.flops, "FLOP/s")}, and moves ${bytes(profile.limits.near)}/s within its ` +
      `second-level cache and ${bytes(profile.limits.far)}/s beyond.`));
    const wanting = rows.filter((row) => row.wanting > 0).sort((a, b) => b.wanting - a.wanting).slice(0, 3);
    if (wanting.length) panel.append(element("p", {}, "Most is to be had in ", wanting.map((row, i) => [i ? ", " : "", link(row.node), ` (${seconds(row.wanting)})`]).flat(), "."));
    panel.append(roofline(rows, profile));
  } else panel.append(element("p", {}, report.notes.times));
  const spent = (row) => times[row.node];
  const columns = [
    { head: "node", of: (row) => row.name, show: (row) => link(row.node) },
    { head: "operator", of: (row) => row.op },
    { head: "lowering", of: (row) => row.lowering },
    { head: "time", number: true, of: spent, show: (row) => bar(spent(row) / longest, seconds(spent(row))) },
    { head: "share", number: true, of: spent, show: (row) => percent(spent(row) / total) },
    ...(profile ? [
      { head: "FLOP/s", number: true, of: (row) => (row.flops || 0) / (row.seconds || 1), show: (row) => (row.flops && row.seconds ? rate(row.flops / row.seconds, "") : "") },
      { head: "bytes/s", number: true, of: (row) => (row.moved || 0) / (row.seconds || 1), show: (row) => (row.moved && row.seconds ? bytes(row.moved / row.seconds) : "") },
      { head: "to be had", number: true, of: (row) => row.wanting ?? 0, show: (row) => (row.wanting ? seconds(row.wanting) : "") },
      ...(rows.some((row) => row.helpers?.some((spent) => spent > 0)) ? [{ head: "helpers", number: true, of: (row) => (row.helpers ?? []).reduce((a, b) => a + b, 0), show: (row) => { const all = (row.helpers ?? []).reduce((a, b) => a + b, 0); return all ? seconds(all) : ""; } }] : []),
      { head: "predicted", number: true, of: (row) => row.predicted, show: (row) => seconds(row.predicted) },
    ] : []),
  ];
  panel.append(table("Time of each step", columns, rows, [3, true]));
}

/** Each step that multiplies: how much it computes for a byte, and how fast, under what a core (or all) can do. */
function roofline(rows, profile) {
  const found = rows.filter((row) => row.flops && row.seconds && row.moved);
  const box = element("figure", { class: "roofline" }, element("figcaption", {}, "Roofline: how fast each step computes, beside what the machine could do at so many operations for a byte"));
  if (!found.length) return element("div");
  const wide = 640, tall = 280, [left, right, upper, lower] = [58, 12, 10, 38];
  const { flops, near, far } = profile.limits, cores = profile.threads;
  const xs = found.map((row) => row.flops / row.moved), ys = found.map((row) => row.flops / row.seconds);
  const [x0, x1] = [Math.min(0.1, ...xs) / 1.5, Math.max(flops / far * 4, ...xs) * 1.5];
  const [y0, y1] = [Math.min(flops / 100, ...ys) / 1.5, Math.max(flops * cores, ...ys) * 1.6];
  const x = (z) => left + (wide - left - right) * Math.log(z / x0) / Math.log(x1 / x0);
  const y = (z) => tall - lower - (tall - upper - lower) * Math.log(z / y0) / Math.log(y1 / y0);
  const roof = (speed, peak, kind) => {
    const from = Math.max(x0, y0 / speed), knee = clamp(from, peak / speed, x1);
    return drawn("path", { class: `roof ${kind}`, d: `M${n(x(from))} ${n(y(speed * from))}L${n(x(knee))} ${n(y(Math.min(peak, speed * knee)))}L${n(x(x1))} ${n(y(Math.min(peak, speed * x1)))}` });
  };
  const svg = drawn("svg", { viewBox: `0 0 ${wide} ${tall}`, class: "chart", role: "group", "aria-label": `Roofline of ${counted(found.length, "step")}; the table below has the same numbers` },
    powers(x0, x1).map((z) => [drawn("path", { class: "grid", d: `M${n(x(z))} ${upper}V${tall - lower}` }), drawn("text", { class: "tick middle", x: n(x(z)), y: tall - lower + 14 }, digits(z))]).flat(),
    powers(y0, y1).map((z) => [drawn("path", { class: "grid", d: `M${left} ${n(y(z))}H${wide - right}` }), drawn("text", { class: "tick end", x: left - 6, y: n(y(z) + 3) }, rate(z, ""))]).flat(),
    drawn("text", { class: "tick middle", x: (left + wide - right) / 2, y: tall - 6 }, "operations for each byte moved (FLOP/B)"),
    drawn("text", { class: "tick middle", x: 12, y: (tall - lower) / 2, transform: `rotate(-90 12 ${(tall - lower) / 2})` }, "FLOP/s"),
    roof(near, flops, "near"), roof(far, flops, "far"), cores > 1 ? roof(near * cores, flops * cores, "all") : [],
    found.map((row, i) => {
      const dot = drawn("circle", { class: `dot k-${row.kind}`, "data-node": row.node, cx: n(x(xs[i])), cy: n(y(ys[i])), r: n(3.5 + 8 * Math.sqrt(times[row.node] / longest)), "aria-hidden": "true" });
      dot.addEventListener("click", () => choose(row.node, "roofline"));
      dot.addEventListener("pointermove", (event) => { hover(row.node, "roofline"); showTip(event, [...inShort(row.node), `${rate(ys[i], "FLOP/s")} at ${digits(xs[i])} FLOP/B`]); });
      dot.addEventListener("pointerleave", () => { hover(-1, "roofline"); hideTip(); });
      return dot;
    }));
  light(svg, "chosen", state.chosen);
  on("choose", (node) => light(svg, "chosen", node));
  on("hover", (node) => light(svg, "hovered", node));
  box.append(svg, element("p", { class: "quiet" }, "Solid: a core, out of its second-level cache. Dashed: a core, out of memory." +
    (cores > 1 ? " Dotted: all threads, out of their caches." : "") + " The larger the dot, the longer the step takes."));
  return box;
}
