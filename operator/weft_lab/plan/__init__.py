"""What is to be done about the lab's objects: controllers, scheduling, endpoints, names, rules, the life of a pod. Pure.

Belongs here: functions from objects (and `now`) to decisions, and the state machines of pods and probes.
Does not belong here: doing it. No clock, process, file or socket; `weft_lab.daemon` has those.
"""
