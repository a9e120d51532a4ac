"""Our revisions as Django's migrations, one for each that a release has added."""
