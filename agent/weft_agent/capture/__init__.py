"""Pods and their network namespaces: rules that hold, listeners that stay, sockets in stock.

Belongs here: which namespace a pod has, the capture of each pod over its life, what is made inside a namespace for workers.
Does not belong here: the rules themselves (`weft_iptables`), what workers do with the sockets (`weft_agent.proxy`).
Everything that enters a namespace waits in a thread; nothing here runs in a worker.
"""
