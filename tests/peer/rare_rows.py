"""Functions that are rarely used, as rows of :mod:`.test_mathematics_torch`."""

from __future__ import annotations

RARE = {
    "shifts": "i << 2, i >> 1, 1 << i, m.bitwise_left_shift(i, i), i.bitwise_right_shift(i), 5 & i, i ^ 3, ~i",
    "bits": "i.bitwise_and(6), i.bitwise_or(i + 1), m.bitwise_xor(i, 1), i.bitwise_not(), (i > 1).bitwise_xor(i > 2)",
    "fmax": "m.fmax(a, b), m.fmin(a, b), m.fmax(i, 2 * i - 2), b.fmax(b), b.fmin(b), m.fmin(i, i - 1)",
    "fmax far": "m.fmax(z[:, None].detach(), z.detach()), m.fmin(z[:, None].detach(), z.detach())",
    "signs": (
        "m.isposinf(z), z.isneginf(), m.isposinf(i), i.isneginf(), m.isreal(z), i.isreal(), m.positive(a), +i, "
        "m.angle(a), m.angle(z.detach()), a.detach().sgn()"
    ),
    "divisors": (
        "m.gcd(i, i - 2), i.gcd(m.tensor(4)), m.lcm(i, i - 3), (i * 6).lcm(4 - i), m.gcd(i.int(), (i * 2).int()), "
        "m.lcm(i[:, None], i)"
    ),
    "ldexp": "m.ldexp(a, i), b.detach().ldexp(i - 2), m.ldexp(i.to(a.dtype), i), m.ldexp(z, m.tensor(3))",
    "frexp": "*m.frexp(a), *m.frexp(b * 1e30), *m.frexp(b * 1e-30), *(a * 0).frexp(), *m.frexp(b.detach() * 1e-39)",
    "frexp exact": "*m.frexp(m.tensor([1.0, 2.0, -0.5, 1023.0, 1e-42, 0.0]))",
    "nextafter": (
        "m.nextafter(z[:, None].detach(), z.detach()), m.nextafter(a.detach(), b.detach()), "
        "a.detach().nextafter(0 * a.detach())"
    ),
    "mvlgamma": "m.mvlgamma(a.abs() + 3, 2), b.abs().mvlgamma(1), m.mvlgamma(a.abs() + 3, p=5)",
    "activations": "a.hardshrink(), m.hardshrink(b, 0.3), a.prelu(b[0, :1]), m.prelu(a, b[:, 0]), m.prelu(b, b[0])",
    "sums of products": (
        "m.addmv(b[:, 0], b, b[0]), b[0, 0].addmv(b, b[1], alpha=2, beta=0.5), m.addr(b, b[:, 1], b[1]), "
        "b.addr(b[:, 2], b[3], beta=0), b[:3, :3].addbmm(a[:2, :3], a[:2, :3].mT, alpha=0.5), m.ger(b[0], b[1]), "
        "m.addbmm(b[:, :4], a, a.mT)"
    ),
    "renorm": "m.renorm(a, 2, 0, 1.5), a.renorm(1, 2, 3.0), m.renorm(b, float('inf'), 1, 0.5), b.renorm(2, 0, 99.0)",
    "pdist": "m.pdist(b), m.pdist(b, 1), m.pdist(b, float('inf')), m.pdist(b[:1]), m.nn.functional.pdist(b, 3.0)",
    "diagonals": (
        "m.diagflat(b), b[0].diagflat(1), m.diagflat(i, -2), m.diagonal_scatter(b, b[0, :4]), "
        "m.diagonal_scatter(a, b[:3].T * 2, 1, 0, 1), b.diagonal_scatter(b[0, :3], offset=-1), "
        "a.diagonal_scatter(a[..., 0].T * 3, dim1=0, dim2=2)"
    ),
    "slices": (
        "m.select_scatter(a, b, 0, 1), a.select_scatter(a[:, 0] * 2, 1, -1), m.slice_scatter(a, b[None] * 2, 0, 1, 2), "
        "b.slice_scatter(b[:2] * 3, step=2), m.slice_scatter(a, a[..., :2] * 0.5, 2, -2), a.narrow_copy(1, 1, 2), "
        "*a.split_with_sizes([1, 3], 1), *m.split_with_sizes(b, (2, 3), -1), a.sum_to_size(4, 1), "
        "a.sum_to_size((1, 1, 5)), "
        "i.int().sum_to_size(1, 5), i.int().sum_to_size(4, 5), m.slice_scatter(i, i[:, 1:4:2] * 0, 1, 1, 4, 2)"
    ),
    "put": (
        "b.put(i, b * 2 + 1, True), b.put(m.tensor([1, -1, 7]), b[0, :3]), "
        "i.put(m.tensor([[0, 3]]), m.tensor([[9, 8]]))"
    ),
    "index_reduce": (
        "*(a.index_reduce(1, m.tensor([0, 2, 0]), a[:, :3] * 2, how) for how in ('prod', 'mean', 'amax', 'amin')), "
        "m.index_reduce(b, 0, m.tensor([1, 1]), b[2:], 'mean', include_self=False), "
        "*(m.index_reduce(b, 1, m.tensor([4, 0, 4]), b[:, :3], how, include_self=False) for how in ('prod', 'amax'))"
    ),
    "histogram": (
        "*m.histogram(a.detach(), 7), *b.detach().histogram(4, range=(-1.0, 1.0)), *m.histogram(b.detach() * 0, 3), "
        "*m.histogram(b.detach(), b[0].detach().sort().values, weight=b.detach().abs()), "
        "*m.histogram(a.detach(), 5, density=True), *m.histogram(b[:0].detach(), 3), "
        "*m.histogram(z.detach(), 5, range=(-1.0, 1.0)), *m.histogram(m.linspace(0, 1, 11, dtype=a.dtype), 10)"
    ),
    "histogramdd": (
        "(h := m.histogramdd(b.detach(), 3)).hist, *h.bin_edges, (h := m.histogramdd(a.detach()[..., :2], [2, 4], "
        "weight=a.detach()[..., 2].abs(), density=True)).hist, *h.bin_edges, m.histogramdd(b.detach()[:, :2], "
        "[b[0].detach().sort().values, b[1].detach().sort().values]).hist, "
        "m.histogramdd(b.detach()[:, :2], 3, range=[-1.0, 1.0, -2.0, 0.5]).hist"
    ),
    "histc": (
        "m.histc(a.detach()), m.histc(b.detach(), 7), b.detach().histc(bins=4, min=-1, max=1), "
        "m.histc(b.detach() * 0, 5), m.histc(z.detach(), 4, -1, 1), a.detach().histc(10, min=0.5, max=0.5)"
    ),
    "mode": (
        "*m.mode(i), *i.mode(0), *m.mode(i, 1, True), m.mode(a).values, *m.mode((a * 2).round(), 1), *i[0, 0].mode(), "
        "*m.mode(i > 1, 0)"
    ),
    "msort": "m.msort(a), b[0].msort(), m.msort(i)",
    "nanmedian": (
        "m.nanmedian(a), *m.nanmedian(b, 1), m.nanmedian(m.where(a > 0.3, m.nan, a)), m.nanmedian(z.detach()), "
        "*m.where(a > 0.3, m.nan, a).nanmedian(1, keepdim=True), m.nanmedian(i), *m.nanmedian(i, 0), "
        "m.nanmedian(a * m.nan), m.median(b[:0]), m.nanmedian(b[:, :0])"
    ),
    "unique_consecutive": (
        "m.unique_consecutive(i), *m.unique_consecutive(i, True, True), "
        "*i.unique_consecutive(return_counts=True, dim=1), "
        "m.unique_consecutive(m.tensor([1, 1, 2, 2, 2, 1]), dim=0), "
        "m.unique_consecutive(z.detach()), "
        "*m.unique_consecutive(m.tensor([[1, 1], [1, 1], [2, 3]]), return_inverse=True, dim=0)"
    ),
    "nonzero_static": (
        "m.nonzero_static(i, size=4), i.nonzero_static(size=30, fill_value=7), m.nonzero_static(a > 0, size=11), "
        "m.nonzero_static(i, size=0)"
    ),
    "triangles": (
        "m.linalg.solve_triangular(b[:, :4], b, upper=True), m.linalg.solve_triangular(b[:, :4], a, upper=False), "
        "m.linalg.solve_triangular(b[:, :4], a[..., :4], upper=True, left=False), "
        "m.linalg.solve_triangular(a[:, :3, :3], b[:3], upper=False, unitriangular=True)"
    ),
    "factors": (
        "m.cholesky_solve(b, m.linalg.cholesky(b @ b.T)), b.cholesky_solve(m.linalg.cholesky(b @ b.T).T, upper=True), "
        "m.cholesky_inverse(m.linalg.cholesky(b @ b.T)), m.linalg.cholesky(b @ b.T).T.cholesky_inverse(True)"
    ),
    "pseudo-inverses": (
        "m.linalg.pinv(a), m.linalg.pinv(b.T), m.pinverse(b), m.linalg.pinv(b @ b.T, hermitian=True), "
        "m.linalg.pinv(m.cat([b.detach(), b.detach()])), m.linalg.pinv(a, rtol=0.5), a[..., :0].pinverse(), "
        "m.linalg.pinv(a.detach() * 0)"
    ),
    "least squares": (
        "m.linalg.lstsq(a.mT, a.mT[..., :2] * 2 + 1).solution, m.linalg.lstsq(b.T, b.T[:, :2]).solution, "
        "m.linalg.lstsq(a, a * 0.5 + 1).solution, m.linalg.lstsq(b.T, a[0].T).rank, "
        "m.linalg.lstsq(a.detach().mT, a.detach()[:, :1].mT).solution"
    ),
    "ranks": (
        "m.linalg.matrix_rank(a), m.linalg.matrix_rank(b * 0), m.linalg.matrix_rank(a, atol=1.0), "
        "m.linalg.matrix_rank(a, rtol=0.4), m.linalg.matrix_rank(m.cat([b, b])), m.linalg.matrix_rank(a[:, :0]), "
        "m.linalg.matrix_rank(b @ b.T, hermitian=True), m.linalg.matrix_rank(a, atol=0.5, rtol=0.1)"
    ),
    "conditions": (
        "m.linalg.cond(a), *(m.linalg.cond(b.detach()[:, :4], p) for p in (2, -2, 1, -1, float('inf'), 'fro', 'nuc')), "
        "m.linalg.cond(b, -2)"
    ),
    "systems of tensors": (
        "m.linalg.tensorsolve(a.reshape(3, 4, 5)[:, :, :4].reshape(12, 4)[:4].reshape(2, 2, 4), b[:2, :2]), "
        "m.linalg.tensorsolve(b[:, :4].reshape(2, 4, 2), b[0, :4].reshape(4), dims=(0, 2)), "
        "m.linalg.tensorinv(b[:, :4].reshape(2, 2, 4)), m.linalg.tensorinv(b[:, :4].reshape(4, 2, 2), ind=1)"
    ),
    "vander": (
        "m.linalg.vander(b), m.linalg.vander(b[0], N=3), m.linalg.vander(i), m.linalg.vander(b[0], N=2), "
        "m.linalg.vander(i.int())"
    ),
}
