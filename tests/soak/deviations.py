"""Where the library means to differ from PyTorch, and why: what the sweeps against it leave out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

Deviation: TypeAlias = "tuple[str, str, str]"

_MIXED = "infinities|masked|nan"  # among finite numbers: where all are infinite, PyTorch says the same
_WEIRD = "infinite|minus infinite|" + _MIXED

SPECIAL: Sequence[Deviation] = (
    (
        r"(conv|einsum|matmul|linear|bmm|outer|dot|fused|avg_pool|adaptive_avg).*", _WEIRD,
        "a sum of products in blocks, or over padding, meets 0 * inf where a sum one by one does not (compile's exact)",
    ),
    (r"(amax|amin|max|min).*", "nan", "NaNs share the gradient as equal extrema do; PyTorch's gradient is NaN"),
    (r"(adaptive_)?max_pool[123]d.*", "nan", "of several NaNs the first takes the gradient, not the last"),
    (
        r"elu.*|activation-(celu|selu).*", "nan",
        "the slope at NaN is NaN; PyTorch's kernels disagree among themselves, by the length of the array",
    ),
    (
        r"hardtanh|relu6|activation-(hardsigmoid|hardshrink|softshrink).*", "nan",
        "at NaN the slope is that of the middle, or of what is beyond; PyTorch's kernels disagree, by width of numbers",
    ),
    (r"activation-hardswish.*|hard-swish-.*", "nan", "the slope at NaN is NaN; PyTorch's is 1"),
    (
        r"attention.*", _WEIRD,
        "what no query sees is not read, and NaN stays NaN; PyTorch's kernels say 0 of rows of NaN, and NaN of no keys",
    ),
    (r"attention.*", "halves|far", "exponentials of scores of some hundreds differ in the last digits of float32"),
    (
        r"fractional_max_pool.*", ".*",
        "its second input is where windows lie, from 0 to 1; of other numbers PyTorch reads beside the image",
    ),
    (
        r"lp_pool.*", _WEIRD + "|far",
        "slopes at NaN; and powers of large numbers of both signs cancel, in each kernel to other last digits",
    ),
    (r"norm-(3.0|1.5).*", "nan", "a zero beside a NaN takes no gradient; PyTorch says NaN"),
    (r"(normalize|cosine_similarity)-.*", _MIXED, "no gradient where the largest is infinite; PyTorch says NaN"),
    (
        r"selecting-scatter_reduce-(amax|amin)-False", ".*",
        "a number that does not count takes no share of the gradient; PyTorch's does where it equals the extremum",
    ),
    (
        r"clip-tensors", "ones|ties|bounds|halves|far|tiny|" + _MIXED,
        "where both bounds are one number or one is NaN, the bound has the slope; PyTorch's has none",
    ),
    (
        r"pow.*", "signed zeros|infinities|masked|minus infinite|nan|tiny",
        "PyTorch has kernels of its own for some exponents (0.5 is sqrt, whose slope at -0 is +inf)",
    ),
    (
        r"binary_cross_entropy-.*", "zeros|signed zeros",
        "the target's slope is held finite",
    ),
    (
        r"binary_cross_entropy_with_logits-weights", "infinities|masked|minus infinite",
        "weights that are infinite: inf where PyTorch's slope is NaN",
    ),
    (
        r"kl_div-.*-log_targetFalse", "zeros|signed zeros|ones|bounds|tiny|" + _MIXED,
        "a target of 0 counts nothing, and has slope 0; PyTorch says NaN",
    ),
    (
        r"(group|layer|batch|instance)_norm.*|standardize.*", "far|tiny|" + _MIXED,
        "rounding of a variance that cancels; NaN or inf of infinite values",
    ),
    (
        r"prod.*|selecting-(cumprod|scatter_reduce-prod).*", "far|" + _WEIRD,
        "the slope is the product of the others; PyTorch divides by the number, infinity by infinity",
    ),
    (r"selecting-cdist-pinf", ".*", "equal distances along axes share the gradient, and NaN is the farthest"),
    (r"selecting-cdist-p1.0", _WEIRD, "a distance that is NaN has slope 0, as abs has it; PyTorch's is NaN"),
    (r"selecting-lerp-.*", _MIXED, "one end and then the other is weighed; PyTorch weighs their difference"),
    (r"selecting-addcdiv-.*", "tiny", "the quotient is divided again; PyTorch divides by the square, which is 0"),
    (
        r"cosine_embedding_loss.*", "zeros|signed zeros|ones|bounds|tiny|infinities|nan",
        "of a vector of zeros only the 1e-12 beside the squares is left, which PyTorch rounds to float32",
    ),
    (
        r"soft_margin_loss.*", "far|" + _WEIRD,
        "PyTorch's exponential of large numbers is infinite, and so the loss; here it is the number",
    ),
    (
        r"(multi|multilabel)_margin_loss.*", _WEIRD,
        "NaN, and infinity less infinity, is NaN; PyTorch counts as enough what is not less",
    ),
    (
        r"poisson_nll_loss.*fullTrue", ".*",
        "the approximation is left out for targets up to 1, and so is its slope, which PyTorch has as NaN",
    ),
    (
        r"grid-sample.*", _WEIRD,
        "a place that is NaN is sampled as NaN, and what has no weight is not read; PyTorch reads beside the image, "
        "and its gradient writes there: NaN held at borders, and infinities that are reflected, may end the process",
    ),
    (
        r"grid-sample-(border|volume).*", "ones|bounds",
        "a place on the border itself has the slope of the image, as clip has it",
    ),
    (r"resize-.*", _WEIRD, "what weighs 0 is not read, but in products with whole rows; in PyTorch the reverse"),
    (
        r"det", "ones|ties|bounds|halves|far|tiny|" + _MIXED,
        "the slope of a singular matrix is of its minors, and tiny factors are 0; PyTorch, by solving, has 0 or NaN",
    ),
    (
        r"eigh|(svd|qr)(-wide)?", "zeros|signed zeros|ones|equal|ties|bounds|halves|far|tiny|" + _WEIRD,
        "equal values have any vectors of their space, and singular matrices no slope, which qr says; what is not "
        "finite is NaN or an error in each LAPACK as it likes",
    ),
    (
        r"digamma|polygamma", "minus infinite|infinities|masked",
        "at infinity they are their limits, and NaN with their slopes at that below; PyTorch has NaN, and infinities",
    ),
    (
        r"ctc_loss.*", _MIXED,
        "the slope of a loss that is NaN is NaN, and where a probability is 0 it is a number; PyTorch says 0, and NaN",
    ),
    (r"ctc_loss.*", "far", "logarithms as large as 1e4 differ by their last digit: 1e-3, and so their exponentials"),
    (r"embedding_bag-.*max.*", ".*", "equal numbers share the gradient, as amax's do; PyTorch's first takes it"),
    (r"(selecting-)?topk-.*", ".*", "of equal numbers the first comes first; PyTorch leaves open which"),
    (r"logsumexp.*", "infinities|masked|minus infinite", "no gradient where all is -inf; PyTorch says NaN"),
    (r"(var|std).*", "tiny|" + _MIXED, "squares of the smallest numbers are 0; NaN, not inf, of infinite deviations"),
    (r"acosh", "ones|bounds|masked|nan", "at -1, where it is NaN, the slope is the infinity of the other sign"),
    (r"gelu-.*", "infinite|infinities", "of infinity it is infinity; PyTorch's kernel of vectors says NaN"),
)  # fmt: skip
"""Of special points: rows (a pattern of names), sets of points (a pattern), the reason."""

UNREAD: Sequence[Deviation] = (
    (
        r"if-.*", ".*",
        "what the branch that was not taken reads has a gradient of zeros; eagerly that branch is not looked at",
    ),
    (r"scan-none", ".*", "of no turns there is a gradient of zeros; eagerly nothing has been read"),
    (r"scan-.*", "0", "the same"),
)  # fmt: skip
"""Where a compiled model has gradients of zeros and the eager one has none: rows, sets of points, the reason."""

COMPILED: Sequence[Deviation] = (
    (
        r"scan-.*",
        _WEIRD,
        "what is carried back begins with zeros, which meet infinities; eagerly it begins with nothing",
    ),
)
"""Where a compiled model differs from the eager one: rows, sets of points, the reason."""

STRICT: Sequence[Deviation] = (
    (
        r"if-(captures-differ|nested)-.*", ".*",
        "branches that both fit, and of one type, are asked of a graph; eagerly only the one that runs is looked at",
    ),
    (
        r"scan-none", "1",
        "turns that keep the types of what they carry are asked of a graph; eagerly there is no turn to look at",
    ),
)  # fmt: skip
"""What a compiled model refuses and the eager one may not: rows, sizes, the reason."""

SIZES: Sequence[Deviation] = (
    (r"conv2d-same-even-kernel", ".*", "the row in PyTorch pads for its own kernel"),
    (
        r"(adaptive_|conv|pad|max_pool|avg_pool|conv_transpose|unfold|fold|lp_pool).*", "0",
        "PyTorch refuses images without channels; here they are images",
    ),
    (r"avg_pool3d.*", "1", "windows fit into images with their padding; PyTorch leaves that out of three axes"),
    (
        r"fractional_max_pool.*", ".*",
        "samples are those of the images, of any size that windows fit; PyTorch does not look, or asks for one more",
    ),
    (r"pad-reflect-crop", "2", "what is cut off at one end is not mirrored at the other"),
    (r"conv_transpose.*", "1", "images of nothing are refused; PyTorch makes them"),
    (r"(batch|instance)_norm.*", "0", "statistics and weights must fit the channels of an empty batch too"),
    (
        r"(group|layer)_norm.*", "[01]",
        "a group of one value is 0, and weights of empty groups take gradients of 0; PyTorch refuses or says NaN",
    ),
    (
        r"einsum.*", "[015]",
        "a repeated index is a diagonal of axes of one size; PyTorch broadcasts or refuses by operand",
    ),
    (
        r"(huber|l1|mse|smooth_l1|kl_div|binary_cross_entropy|cosine|nll|cross_entropy).*", ".*",
        "losses refuse to broadcast; PyTorch warns",
    ),
    (r"(index|gather|take|getitem|embedding).*", ".*", "indices are checked, though nothing is looked up"),
    (
        r"attention-(groups|groups-one|groups-bools|empty|no-keys)", "1",
        "one head or batch goes with any number of the others', none too, as axes broadcast; PyTorch refuses, and of "
        "none it makes one",
    ),
    (r"linear.*", "[01]", "a bias has one element for each output"),
    (r"scan-.*", "1", "what a loop carries keeps its type; in PyTorch it may grow by broadcasting"),
    (r"(var|std).*", ".*", "PyTorch warns where there are no degrees of freedom"),
)  # fmt: skip
"""Of sizes: rows (a pattern of names), sizes (a pattern), the reason."""

UNCHECKED: Sequence[Deviation] = (
    (
        r"attention.*", ".*",
        "PyTorch takes no values for some keys, and its kernels read and write beside operands that do not fit",
    ),
)  # fmt: skip
"""Where PyTorch is not asked for what is refused here, as it does not look: rows, sizes, the reason."""


def known(table: Sequence[Deviation], name: str, where: str) -> bool:
    """Whether the table has this."""
    return any(re.fullmatch(names, name) and re.fullmatch(places, where) for names, places, _ in table)
