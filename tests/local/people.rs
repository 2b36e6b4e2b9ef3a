//! Persons step in, and signals.
