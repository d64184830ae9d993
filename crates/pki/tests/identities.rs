//! What is issued works in TLS for what it is for, and for nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use wright_pki::{Authority, Identity, PkiError, SERVER_NAME, host_of, is_server};

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    let own = Identity {
        ca: String::new(),
        certificate: authority.certificate().to_owned(),
        key: String::new(),
    };
    store
        .add(CertificateDer::from(own.certificate_der().unwrap()))
        .unwrap();
    Arc::new(store)
}

fn client_verifier(authority: &Authority) -> Arc<dyn ClientCertVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(roots(authority), provider)
        .build()
        .unwrap()
}

fn accepts_client(authority: &Authority, identity: &Identity) -> bool {
    let der = CertificateDer::from(identity.certificate_der().unwrap());
    client_verifier(authority)
        .verify_client_cert(&der, &[], UnixTime::now())
        .is_ok()
}

fn accepts_server(authority: &Authority, identity: &Identity, name: &str) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(authority), provider)
        .build()
        .unwrap();
    let der = CertificateDer::from(identity.certificate_der().unwrap());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier
        .verify_server_cert(&der, &[], &name, &[], UnixTime::now())
        .is_ok()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_agents_certificate_is_accepted_from_a_client_and_names_its_host() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::open(scratch.path()).unwrap();
    let agent = authority.issue_agent(&"h3".parse().unwrap()).unwrap();
    assert!(accepts_client(&authority, &agent));
    assert!(!accepts_server(&authority, &agent, "h3.agents.wright"));
    assert_eq!(
        host_of(&agent.certificate_der().unwrap()).unwrap().as_str(),
        "h3"
    );
}

#[test]
fn a_servers_certificate_is_accepted_for_its_names_and_addresses_only() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::open(scratch.path()).unwrap();
    let address = "127.0.0.1".parse().unwrap();
    let server = authority
        .issue_server(&["control.example".to_owned()], &[address])
        .unwrap();
    for name in [SERVER_NAME, "control.example", "127.0.0.1"] {
        assert!(accepts_server(&authority, &server, name), "{name}");
    }
    assert!(!accepts_server(&authority, &server, "127.0.0.2"));
    assert!(!accepts_client(&authority, &server));
}

#[test]
fn what_another_authority_issued_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = Authority::open(one.path()).unwrap();
    let stranger = Authority::open(other.path()).unwrap();
    let agent = stranger.issue_agent(&"h3".parse().unwrap()).unwrap();
    assert!(!accepts_client(&authority, &agent));
}

#[test]
fn an_authority_opened_again_is_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    let first = Authority::open(scratch.path()).unwrap();
    let again = Authority::open(scratch.path()).unwrap();
    assert_eq!(first.certificate(), again.certificate());
    assert!(accepts_client(
        &first,
        &again.issue_agent(&"h1".parse().unwrap()).unwrap()
    ));
}

#[test]
fn an_authority_that_lost_its_key_is_not_silently_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    Authority::open(scratch.path()).unwrap();
    fs::remove_file(scratch.path().join("ca.key")).unwrap();
    let refused = Authority::open(scratch.path());
    assert!(matches!(refused, Err(PkiError::HalfAuthority { .. })));
}

#[test]
fn keys_are_for_their_owner_only() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::open(scratch.path()).unwrap();
    let identity = authority.issue_agent(&"h1".parse().unwrap()).unwrap();
    let directory = scratch.path().join("agent");
    identity.write(&directory, Identity::AGENT).unwrap();
    assert_eq!(mode(&scratch.path().join("ca.key")), 0o600);
    assert_eq!(mode(&directory.join("agent.key")), 0o600);
    assert_eq!(
        Identity::read(&directory, Identity::AGENT).unwrap(),
        identity
    );
    assert!(!format!("{identity:?}").contains("PRIVATE"));
}

#[test]
fn what_a_server_shows_to_servers_is_a_clients_and_no_hosts() {
    let authority = Authority::generate().unwrap();
    let peer = authority.issue_peer().unwrap();
    let der = peer.certificate_der().unwrap();
    assert!(accepts_client(&authority, &peer));
    assert!(!accepts_server(&authority, &peer, SERVER_NAME));
    assert!(is_server(&der) && host_of(&der).is_err());
    // Not even a host of the servers' name is one.
    let host = authority
        .issue_agent(&SERVER_NAME.parse().unwrap())
        .unwrap();
    assert!(!is_server(&host.certificate_der().unwrap()));
}

#[test]
fn an_authority_that_is_kept_elsewhere_issues_the_same() {
    let authority = Authority::generate().unwrap();
    let (certificate, key) = (authority.certificate(), authority.key());
    let again = Authority::from_pem(certificate.to_owned(), key.to_owned()).unwrap();
    let agent = again.issue_agent(&"h1".parse().unwrap()).unwrap();
    assert!(accepts_client(&authority, &agent));
}
