//! TLS: from the user's certificate, or from one made at each start.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use crate::GatewayError;
use crate::config::{Secret, Tls};

/// A TLS acceptor, and the certificate chain it shows (PEM).
pub(crate) fn acceptor(tls: &Tls, listen: &[SocketAddr]) -> Result<(TlsAcceptor, String), GatewayError> {
    match tls {
        Tls::Pem { certificate, key } => from_pem(certificate, key),
        Tls::SelfSigned { names } => {
            let (certificate, key) = self_signed(names, listen)?;
            from_pem(certificate.as_bytes(), &key)
        }
    }
}

fn from_pem(certificate: &[u8], key: &Secret) -> Result<(TlsAcceptor, String), GatewayError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|e| GatewayError::Tls(format!("its PEM cannot be read: {e}")))?;
    if chain.is_empty() {
        return Err(GatewayError::Tls("there is no CERTIFICATE section in its PEM".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .map_err(|e| GatewayError::Tls(format!("its private key cannot be read (PEM without a passphrase): {e}")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| GatewayError::Tls(format!("certificate and key do not go together: {e}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), String::from_utf8_lossy(certificate).into_owned()))
}

fn self_signed(names: &[String], listen: &[SocketAddr]) -> Result<(String, Secret), GatewayError> {
    let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let addresses = listen.iter().map(|listen| listen.ip().to_canonical());
    all.extend(addresses.filter(|ip: &IpAddr| !ip.is_unspecified()).map(|ip| ip.to_string()));
    all.extend_from_slice(names);
    all.sort();
    all.dedup();
    let made = rcgen::generate_simple_self_signed(all)
        .map_err(|e| GatewayError::Tls(format!("a self-signed one cannot be made for these names: {e}")))?;
    Ok((made.cert.pem(), Secret::new(made.signing_key.serialize_pem())))
}
