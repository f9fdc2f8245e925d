"""The USAF-1951 resolution target: drawn, found in an image, read, and measured."""
