"""Members that the project does not have, added to a copy of the tree."""
