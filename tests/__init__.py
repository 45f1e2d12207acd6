"""The tests, a package by name: a distribution that brings a package `tests` too would else be found first."""
