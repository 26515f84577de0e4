//! What both protocols need of TLS.

/// rustls asks for a choice as soon as two providers are compiled in. Done twice, the first one stays.
pub(in crate::export) fn choose_provider() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
