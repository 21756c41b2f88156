"""ONNX files: their content as plain data, and what each operator becomes."""
