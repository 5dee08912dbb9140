"""Container images of Weft out of locked Debian and Python packages: no engine, no registry, no root; same commit, same bytes.

Belongs here: what is in each image (`recipes`), fetching and unpacking what it is made of, and the OCI archive.
Does not belong here: running, pushing or loading images (`ctr`, `docker load`, `skopeo` do that).
`python -m manifests.image build` in the checkout makes them; the Containerfile beside runs the same code.
"""
