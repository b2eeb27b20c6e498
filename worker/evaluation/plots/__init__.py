"""Figures for people who have never seen one: title, axes, units, and which direction is good."""
