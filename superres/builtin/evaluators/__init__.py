"""Evaluators that come with superres.  Their modules are imported only when a catalog asks for them."""
