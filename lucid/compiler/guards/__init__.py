"""What a trace has read besides its arguments, and whether it still is what it was.

While a model is traced a :class:`Watch` observes which functions run, and takes down what each of them reads when it
begins: globals, what it closes over, defaults, attributes along the way, and, of whatever is found there, the content.
What it took down becomes a :class:`Guards`: a flat list of checks that a compiled model makes at each call.
"""
