"""Programs for pods: servers that say what they see, clients that say what they got. Image `weft.dev/demo` in the lab.

Belongs here: small programs on the standard library and h11, sturdy enough for tests to build upon.
Does not belong here: anything of the mesh; these are the applications that it serves.
"""
