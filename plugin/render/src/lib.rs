//! A report as text, JSON or RON.
