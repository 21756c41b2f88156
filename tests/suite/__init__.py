"""The backend suite of the ``onnx`` package, run through :mod:`lucid.onnx.backend` (``make onnx``)."""
