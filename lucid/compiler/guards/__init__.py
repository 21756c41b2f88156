"""What a trace has read besides its arguments, and whether that has changed.

While a model is traced, a :class:`Watch` observes which functions run and records what each of them may read: globals,
closures, defaults, the attributes on the way, and the contents of whatever is found there. The record becomes a
:class:`Guards`: a flat list of checks that a compiled model makes at each call.
"""
