"""The sparse engine's C sources, their build and, once built, the library."""
