"""The BentoML application: a deck behind HTTP, with metrics and a page (`bentoml serve serving.service:CardsDeck`)."""
