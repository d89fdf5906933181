"""Networks of pictures beyond timm: transformers by their own processors, AlexNet of torchvision."""
