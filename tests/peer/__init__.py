"""Tests against PyTorch and ONNX Runtime; they need the extra packages and fail without them."""
