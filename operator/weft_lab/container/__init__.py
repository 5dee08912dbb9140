"""What runs between the daemon and a pod's program: it builds the container around itself and then becomes the program.

Belongs here: three small programs (`start_pod`, `join_pod`, `start_node`) and what they share. They run as
`python -I -S`, so they import the standard library and this room, nothing else, and this file imports nothing.
Does not belong here: deciding what is run, which the daemon does; an order (`order`) says all of it.
"""
