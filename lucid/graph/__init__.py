"""The intermediate representation: graphs, ops, their text, files and pictures, each in a module of its own."""
