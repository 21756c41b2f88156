"""ONNX files made of graphs: :mod:`.graph` goes over nodes, :mod:`.registry` tells how a writer for an op is added."""
