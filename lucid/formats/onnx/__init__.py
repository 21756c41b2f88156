"""ONNX files: their content as plain data, and the conversion of operators in both directions."""
