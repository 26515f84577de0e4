//! Certificates from PEM files.

use std::{fs, path::Path};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::{config::settings::Tls, export::ExportError};

/// The content of the files of [`Tls`], looked at once so that errors name the file.
#[derive(Default)]
pub(in crate::export) struct Pem {
    pub(in crate::export) ca: Option<Vec<u8>>,
    /// Certificate, key.
    pub(in crate::export) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Pem {
    pub(in crate::export) fn read(tls: &Tls) -> Result<Self, ExportError> {
        let ca = tls.ca.as_deref().map(certificates).transpose()?;
        let client = match &tls.client {
            Some(it) => Some((certificates(&it.certificate)?, key(&it.key)?)),
            None => None,
        };
        Ok(Self { ca, client })
    }
}

/// rustls asks for a choice as soon as two providers are compiled in. Done twice, the first one stays.
pub(in crate::export) fn choose_provider() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

fn certificates(path: &Path) -> Result<Vec<u8>, ExportError> {
    let pem = read(path)?;
    let mut certificates = CertificateDer::pem_slice_iter(&pem).peekable();
    if certificates.peek().is_none() || certificates.any(|it| it.is_err()) {
        return Err(ExportError::NoPem { path: path.to_owned(), what: "certificate" });
    }
    Ok(pem)
}

fn key(path: &Path) -> Result<Vec<u8>, ExportError> {
    let pem = read(path)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(pem),
        Err(_) => Err(ExportError::NoPem { path: path.to_owned(), what: "private key" }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ExportError> {
    fs::read(path).map_err(|source| ExportError::Read { path: path.to_owned(), source })
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
            let want = format!("`{}` holds no certificate in PEM form", file.path().display());
            assert_eq!(error, Some(want), "{content}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let tls = Tls { ca: Some("/nowhere/ca.pem".into()), client: None };
        let error = Pem::read(&tls).err().map(|it| it.to_string());
        assert_eq!(error.as_deref(), Some("cannot read `/nowhere/ca.pem`"));
    }
}
