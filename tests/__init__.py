"""Tests of Lucid."""
