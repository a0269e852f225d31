"""The catalogue: blocks, their releases and artefacts, and the resolver that picks among them."""
