"""What scores pictures: embeddings of what a picture shows, and of how it is drawn."""
