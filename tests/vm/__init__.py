"""The judge: a virtual machine in which drivers that nobody here wrote meet the model (`scripts/vm`)."""
