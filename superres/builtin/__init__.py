"""The plug-ins that come with superres, offered through the same hook as everybody's."""
