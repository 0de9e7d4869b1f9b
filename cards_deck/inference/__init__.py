"""Everything that answers an image, without torch: the gate, the engines and the predictor."""
