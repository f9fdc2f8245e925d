"""The networks that come with superres.  Their torch modules are imported only when one is built."""
