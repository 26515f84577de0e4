//! What the user asked for: arguments and files become settings, which are resolved and valid.

pub mod settings;
