"""Misbehaviour on demand: what there is, and what is injected into a port."""
