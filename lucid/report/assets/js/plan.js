// How the program runs: every step in its order.

function planPanel(panel) {
  const rows = report.steps.map((node, order) => ({ node, order, ...nodes[node], ...nodes[node].step }));
  panel.append(element("p", {}, report.notes.plan), table("Steps in their order", [
    { head: "no.", number: true, of: (row) => row.order, show: (row) => String(row.order + 1) },
    { head: "node", of: (row) => row.name, show: (row) => link(row.node) },
    { head: "operator", of: (row) => row.op },
    { head: "lowering", of: (row) => (row.view ? "view" : row.lowering) },
    { head: "workers", number: true, of: (row) => row.workers },
    { head: "predicted", number: true, of: (row) => row.predicted, show: (row) => (row.predicted ? seconds(row.predicted) : "") },
    { head: "measured", number: true, of: (row) => row.seconds ?? 0, show: (row) => (row.seconds ? seconds(row.seconds) : "") },
    { head: "gives", of: (row) => row.type },
    { head: "when", of: (row) => (row.once ? "once" : "run") },
  ], rows));
}
