"""What tests share: builders, fake wires, certificates, namespaces, recorders. The only package below `tests`."""
