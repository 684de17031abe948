"""The language: from a script's text to a syntax tree, and from values back to text."""
