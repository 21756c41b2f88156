"""What a person of PyTorch types: each name is there, or answers with what to write instead, which is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.base import absent
from lucid.nn import functional as F

AXES = "1d 2d 3d"

THERE: dict[str, str] = {
    "nn": "Conv{} ConvTranspose{} MaxPool{} AvgPool{} AdaptiveAvgPool{} AdaptiveMaxPool{} BatchNorm{} InstanceNorm{} "
    "ZeroPad{} ConstantPad{} ReflectionPad{} ReplicationPad{} LazyConv{} LazyConvTranspose{} LazyBatchNorm{} "
    "LazyInstanceNorm{} LPPool2d FractionalMaxPool2d MaxUnpool2d RMSNorm LocalResponseNorm RNN LSTM GRU RNNCell "
    "LSTMCell GRUCell MultiheadAttention TransformerEncoder TransformerEncoderLayer TransformerDecoder "
    "TransformerDecoderLayer Transformer Upsample PixelShuffle PixelUnshuffle Fold Unfold ChannelShuffle EmbeddingBag "
    "Bilinear AlphaDropout Mish Hardswish Hardsigmoid SELU CELU GLU LogSigmoid Softsign Softmin Threshold "
    "CosineSimilarity PairwiseDistance LazyLinear ParameterDict TripletMarginLoss CTCLoss PoissonNLLLoss "
    "GaussianNLLLoss MarginRankingLoss HingeEmbeddingLoss CosineEmbeddingLoss MultiMarginLoss "
    "MultiLabelSoftMarginLoss",
    "F": "interpolate scaled_dot_product_attention grid_sample affine_grid unfold fold conv1d conv3d glu hardswish "
    "rms_norm cosine_similarity one_hot pixel_shuffle",
    "lucid": "float32 float64 int8 int16 int32 int64 uint8 bool float double int long as_tensor inference_mode "
    "enable_grad mm addmm baddbmm hstack vstack tril triu diag meshgrid allclose equal isinf isfinite logical_and "
    "logical_or logical_not logical_xor atan2 lerp bincount cdist hypot logaddexp xlogy sinc fmod nan_to_num copysign "
    "var_mean aminmax nansum quantile cov cummax logcumsumexp diff diagonal diag_embed trace rot90 block_diag "
    "cartesian_prod trapezoid tensor_split isin searchsorted bucketize tensordot kron inner cross chain_matmul "
    "broadcast_tensors rand_like randn_like erfc erfinv lgamma digamma polygamma Generator get_rng_state set_rng_state",
    "lucid.data": "Dataset IterableDataset TensorDataset StackDataset ConcatDataset ChainDataset Subset random_split "
    "Sampler SequentialSampler RandomSampler SubsetRandomSampler WeightedRandomSampler BatchSampler DataLoader "
    "default_collate default_convert get_worker_info",
    "lucid.autograd": "grad Function function",
    "lucid.func": "functional_call grad grad_and_value hessian jacfwd jacrev stack_module_state vjp",
    "lucid.linalg": "norm vector_norm matrix_norm inv solve cholesky det slogdet matmul multi_dot matrix_power cross "
    "diagonal vecdot eigh eigvalsh svd svdvals qr solve_triangular pinv lstsq matrix_rank cond tensorsolve tensorinv "
    "vander",
    "lucid.special": "digamma entr erf erfc erfcx erfinv exp2 expit expm1 gammaln i0 i0e i1 i1e log1p log_ndtr "
    "log_softmax logit logsumexp multigammaln ndtr ndtri polygamma psi round sinc softmax xlog1py xlogy",
    "t": "add_ mul_ sub_ div_ clamp_ zero_ fill_ exp_ relu_ prod any all norm topk sort argsort median unique nonzero "
    "unfold select diagonal quantile unbind scatter index_add masked_select cumprod contiguous cpu device t mT "
    "new_zeros new_ones new_full new_empty new_tensor index_put_ masked_scatter_ kthvalue movedim expand_as int eq "
    "ne lt le gt ge square rsqrt log1p expm1 log2 tan atan trunc reciprocal max add div backward",
    "layer": "register_full_backward_hook register_full_backward_pre_hook to parameters get_parameter load_state_dict",
    "optim": "NAdam RAdam Adamax Adadelta Rprop ASGD Adafactor Muon LBFGS swa_utils",
    "optim.lr_scheduler": "ChainedScheduler CyclicLR MultiplicativeLR",
    "optim.swa_utils": "AveragedModel SWALR update_bn get_ema_avg_fn get_ema_multi_avg_fn",
}

ABSENT = {
    lucid: absent.TOP, lucid.Tensor: absent.TENSOR, nn: absent.NN, F: absent.NN, nn.Module: absent.MODULE,
    optim: absent.OPTIM, lucid.autograd: absent.AUTOGRAD, lucid.linalg: absent.LINALG, lucid.special: absent.SPECIAL,
    nn.utils: absent.UTILS,
    nn.init: absent.INIT, lucid.data: absent.DATA, optim.lr_scheduler: absent.SCHEDULER,
    lucid.distributed: absent.DISTRIBUTED, lucid.training: absent.TRAINING, lucid.onnx: absent.ONNX,
    lucid.func: absent.FUNC,
}  # fmt: skip
"""What says what to type instead, and of what."""

WORKS = [
    "nn.ReLU(inplace=True)", "nn.Conv2d(1, 1, 3, padding_mode='circular')", "nn.Identity(1, unused=2)",
    "t.__setitem__(0, 1.0)", "t // 2", "t % 2", "(t > 1) ^ (t > 2)", "t.sum(axis=0)", "t.std(unbiased=False)",
    "lucid.max(t, t)", "t.add(1, alpha=2)", "t.div(2, rounding_mode='floor')", "f'{t.sum():.2f}'",
    "(leaf * 1).sum().backward(retain_graph=True)", "layer.to(device='cpu')", "layer.parameters(recurse=False)",
    "layer.load_state_dict({}, strict=False).missing_keys", "optim.SGD(layer.named_parameters(), lr=1.0)",
]  # fmt: skip

ANSWERS = [
    ("lucid.save", r"np\.savez"), ("lucid.vmap", r"lucid\.func\.vmap"), ("lucid.half", "float32"),
    ("lucid.checkpoint", "smaller batches"), ("lucid.utils.checkpoint", "smaller batches"),
    ("nn.utils.checkpoint", "smaller batches"), ("t.half()", r"t\.float\(\)"), ("layer.half()", r"module\.float\(\)"),
    ("t.grad_fn", "is_leaf"),
    ("layer.register_backward_hook(print)", "register_full_backward_hook"),
    ("optim.SparseAdam", r"optim\.Adam"), ("lucid.onnx.dynamo_export", r"lucid\.onnx\.export"),
    ("t.max(t)", r"lucid\.maximum"),
    ("layer.load_state_dict(layer.state_dict(), assign=True)", r"to\(dtype\)"),
]  # fmt: skip


def value(expression: str) -> Any:
    known = {"lucid": lucid, "nn": nn, "F": F, "optim": optim, "layer": nn.Linear(2, 2)}
    return eval(expression, {**known, "t": lucid.ones(2, 2), "leaf": lucid.ones(2, requires_grad=True)})


@pytest.mark.parametrize("owner", THERE)
def test_names_that_are_there(owner: str) -> None:
    names = [name.format(axes) for name in THERE[owner].split() for axes in (AXES.split() if "{}" in name else [""])]
    assert [name for name in names if getattr(value(owner), name, None) is None] == []


@pytest.mark.parametrize("owner", ABSENT, ids=lambda owner: owner.__name__)
def test_what_is_there_is_not_said_to_be_absent(owner: Any) -> None:
    assert [name for name in ABSENT[owner] if name in dir(owner) and name != "apply"] == []


@pytest.mark.parametrize("expression", WORKS)
def test_what_works(expression: str) -> None:
    value(expression)


@pytest.mark.parametrize(("expression", "words"), ANSWERS)
def test_what_answers(expression: str, words: str) -> None:
    with pytest.raises((AttributeError, lucid.LucidError), match=words):
        value(expression)


def test_weights_are_saved_as_it_says(tmp_path: Path) -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    np.savez(tmp_path / "weights.npz", **model.state_dict())  # type: ignore[arg-type]
    other.load_state_dict(np.load(tmp_path / "weights.npz"))
    assert other.weight.tolist() == model.weight.tolist()


def test_rows_are_stacked_as_it_says() -> None:
    batch = lucid.tensor([[1.0, 2.0], [3.0, 4.0]])
    for wrap in (lambda f: f, lucid.compile):
        assert wrap(lambda x: lucid.stack([row.dot(row) for row in x]))(batch).tolist() == [5.0, 25.0]


def test_smaller_batches_add_up_as_it_says() -> None:
    layer, x = nn.Linear(2, 1), lucid.tensor([[1.0, 2.0], [3.0, 5.0]])
    for row in x:
        layer(row).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.tolist() == [[4.0, 7.0]]


def test_a_graph_is_shown_as_it_says() -> None:
    assert "mul" in str(lucid.compile(lambda x: x * 3, lucid.spec(2, 3)).traced).lower()


def test_optimisers_step_as_it_says() -> None:
    layer = nn.Linear(2, 1)
    adam, before = optim.Adam(layer.parameters()), layer.weight.tolist()

    def closure() -> lucid.Tensor:
        adam.zero_grad()
        loss: lucid.Tensor = layer(lucid.ones(1, 2)).sum()
        loss.backward()
        return loss

    assert float(adam.step(closure)) != 0 and layer.weight.tolist() != before
