//! PEM files, looked at before anybody relies on them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::settings::Tls;

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds no {what} in PEM form", path.display())]
    Empty { path: PathBuf, what: &'static str },
}

/// The content of the files of [`Tls`].
#[derive(Default)]
pub struct Pem {
    pub ca: Option<Vec<u8>>,
    /// Certificate, key.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Pem {
    pub fn read(tls: &Tls) -> Result<Self, PemError> {
        let ca = tls.ca.as_deref().map(certificates).transpose()?;
        let client = match &tls.client {
            Some(it) => Some((certificates(&it.certificate)?, key(&it.key)?)),
            None => None,
        };
        Ok(Self { ca, client })
    }
}

fn certificates(path: &Path) -> Result<Vec<u8>, PemError> {
    let pem = read(path)?;
    let mut certificates = CertificateDer::pem_slice_iter(&pem).peekable();
    if certificates.peek().is_none() || certificates.any(|it| it.is_err()) {
        return Err(PemError::Empty { path: path.to_owned(), what: "certificate" });
    }
    Ok(pem)
}

fn key(path: &Path) -> Result<Vec<u8>, PemError> {
    let pem = read(path)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(pem),
        Err(_) => Err(PemError::Empty { path: path.to_owned(), what: "private key" }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    fs::read(path).map_err(|source| PemError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        for content in ["", "hello", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content.as_bytes()).unwrap();
            let tls = Tls { ca: Some(file.path().to_owned()), client: None };
            let error = Pem::read(&tls).err().map(|it| it.to_string());
            let want = format!("{} holds no certificate in PEM form", file.path().display());
            assert_eq!(error, Some(want), "{content}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let tls = Tls { ca: Some("/nowhere/ca.pem".into()), client: None };
        let error = Pem::read(&tls).err().map(|it| it.to_string());
        assert!(
            error.as_ref().is_some_and(|it| it.starts_with("cannot read /nowhere/ca.pem: ")),
            "{error:?}"
        );
    }
}
