"""Writing graphs as ONNX files: :mod:`.graph` walks the nodes, :mod:`.registry` describes writers for ops."""
