"""The package's version: its first two numbers are those of the library that it can call."""

VERSION = "0.2.0"
