//! What the user asked for: arguments, environment and file become settings, resolved and valid.
//!
//! One table names each setting once. Must not know the kernel. Nothing else reads the environment.

mod args;
mod endpoint;
mod error;
mod file;
mod markdown;
mod otel;
mod pem;
mod resolve;
pub mod settings;
mod sources;
mod table;
pub mod value;

pub use self::{
    args::AgentArgs,
    error::{ConfigError, Origin},
    file::File,
    markdown::settings_table,
    pem::{Pem, PemError},
    resolve::{load, resolve, socket},
    sources::{Env, Sources, environment},
    table::{Default, Key, Setting, Shape, TABLE},
};
