"""ONNX files: what they say as plain data, and what each operator becomes."""
