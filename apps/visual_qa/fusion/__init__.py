"""What joins image and question, beyond the layers of common/layers."""
