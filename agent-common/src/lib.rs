//! What both halves agree on.
