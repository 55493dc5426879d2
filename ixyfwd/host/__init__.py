"""The machine under the appliance: which devices it has, who uses them, and how they change hands."""
