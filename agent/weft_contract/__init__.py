"""The nouns both planes share: mesh objects, node resources, identity names, ports, marks, labels, limits, codec.

Belongs here: frozen data, its grammar and its encoding. Needs msgspec and the standard library, nothing else.
Does not belong here: any decision about traffic (`weft_core`), any input or output, any clock.
What crosses a process border is declared here once, so that the planes meet in bytes and never in imports.
"""
