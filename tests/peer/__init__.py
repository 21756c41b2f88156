"""Tests against PyTorch and ONNX Runtime, and in a notebook; they need the extra packages and fail without them."""
