"""The stages of a run: what happens to images.  Each knows the api's types and never a concrete plug-in."""
