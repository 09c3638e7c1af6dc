"""Models: loading, which module to edit, fingerprints, second moments."""
