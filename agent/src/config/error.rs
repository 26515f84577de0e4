//! What can be wrong with settings, said so that the user can put it right.

use std::{fmt, io, path::PathBuf};

use super::{pem::PemError, table::Key, value::Problem};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(Key),
    Variable(String),
    File { path: PathBuf, line: u64, key: Key },
    Default(Key),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => f.write_str(&key.setting().flag()),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line, key } => {
                write!(f, "{}:{line}: {}", path.display(), key.setting().name)
            }
            Self::Default(key) => write!(f, "default of {}", key.setting().name),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{origin}: `{value}` will not do: {problem}")]
    BadValue { origin: Origin, value: String, problem: Problem },
    /// The value may be a secret.
    #[error("{origin}: {problem}")]
    BadSecret { origin: Origin, problem: Problem },
    #[error("{}:{line}: there is no setting `{key}`; did you mean `{nearest}`?", path.display())]
    UnknownKey { path: PathBuf, line: u64, key: String, nearest: &'static str },
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is no list of settings: {source}", path.display())]
    Yaml { path: PathBuf, source: Box<serde_saphyr::Error> },
    #[error("a client certificate is set, but no key: set {} too", Key::OtlpClientKey.setting().flag())]
    CertificateWithoutKey,
    #[error("a client key is set, but no certificate: set {} too", Key::OtlpClientCertificate.setting().flag())]
    KeyWithoutCertificate,
    #[error("certificates are set, but {endpoint} is no https://: use https://, or leave them away")]
    CertificatesWithoutTls { endpoint: String },
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("{} must be set", .0.setting().flag())]
    Missing(Key),
}
