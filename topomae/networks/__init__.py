"""The networks: UNETR++, the masked ViT, and how they are trained and used together."""
