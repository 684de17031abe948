"""Wire formats: bytes in, a valid value or ``WireError`` out, and back."""
